from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from siamplex.cli import main
from siamplex.embedding import write_embedding
from siamplex.errors import InputError, UsageError
from siamplex.geometry import LINE, PAPER_ORDER
from siamplex.images import read_picture
from siamplex.similarity.circle import fit_maps
from siamplex.similarity.matrices import read_judgements
from siamplex.similarity.mds import collapsed, kruskal, scale
from siamplex.similarity.rdm import Rdm, of_circle

CONFUSIONS = """,happiness,surprise,fear,sadness,anger,disgust
happiness,95,3,1,0,0,1
surprise,2,85,11,1,1,0
fear,1,30,60,5,2,2
sadness,1,1,5,80,6,7
anger,0,1,3,6,78,12
disgust,0,1,2,7,22,68
"""


@pytest.fixture
def confusions(tmp_path):
    path = tmp_path / "made_up.csv"
    path.write_text(CONFUSIONS)
    return path


def test_confusions_become_distances(confusions):
    found = read_judgements(confusions)
    assert found.kind == "confusion" and found.names == ("HA", "SP", "FE", "SA", "AN", "DI")
    share = found.values / 100
    mutual = found.rdm("mutual")
    at = {frozenset(c): v for c, v in zip(mutual.pairs(), mutual.upper(), strict=True)}
    assert at[frozenset(("SP", "FE"))] == pytest.approx(1 - (0.11 + 0.30) / (0.85 + 0.60))
    profile = found.rdm()
    expected = 1 - np.corrcoef(share)
    np.testing.assert_allclose(profile.values, expected - np.diag(np.diag(expected)), atol=1e-12)


def test_other_kinds(tmp_path):
    names = ",a,b,c"
    path = tmp_path / "m.csv"
    path.write_text(f"{names}\nb,1,0,3\na,0,1,2\nc,2,3,0\n")  # rows in another order than columns
    found = read_judgements(path)
    assert found.kind == "dissimilarity"
    assert found.rdm().values.tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
    path.write_text(f"{names}\na,5,4,1\nb,4,5,2\nc,1,2,5\n")
    assert read_judgements(path, "similarity").rdm().values.tolist() == [[0, 1, 4], [1, 0, 3], [4, 3, 0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (",a,b\na,0,1\nb,1,0\n", "3 to 500 rows"),
        (",a,b,c\na,0,1,2\nb,1,0,2\n", "as many rows as columns|3 to 500"),
        (",a,b,c\na,0,1,2\nb,1,0,x\nc,2,2,0\n", "numbers"),
        (",a,b,c\na,0,1,2\na,1,0,2\nc,2,2,0\n", "a row for each column"),
        (",a,b,c\na,0,1,nan\nb,1,0,2\nc,2,2,0\n", "finite"),
        (",a,b,c\na,0,1,2\nd,1,0,2\nc,2,2,0\n", "one of a, b, c"),
        (",a,b,c\na,0,1,-2\nb,1,0,2\nc,2,2,0\n", "negative"),
        (",a,b,c\na,1,4,2\nb,1,1,2\nc,2,2,1\n", "say --kind"),
    ],
)
def test_what_is_no_matrix(tmp_path, text, said):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_judgements(path)
    with pytest.raises(InputError):
        read_judgements(tmp_path / "absent.csv")


@pytest.mark.parametrize("metric", [True, False])
def test_a_plane_is_found_again(metric):
    points = np.random.default_rng(4).normal(size=(9, 2))
    found = scale(Rdm(tuple("abcdefghi"), squareform(pdist(points))), metric)
    assert found.stress < 0.02 and not found.collapsed
    assert fit_maps(points, found.points).disparity < (1e-4 if metric else 0.05)
    again = scale(Rdm(tuple("abcdefghi"), squareform(pdist(points))), metric)
    assert np.array_equal(found.points, again.points)


def test_a_circle_is_drawn_round():
    found = scale(of_circle(), True)
    np.testing.assert_allclose(np.linalg.norm(found.points, axis=1), np.linalg.norm(found.points, axis=1)[0], rtol=1e-3)
    assert found.stress < 1e-3


def test_stress_is_kruskals():
    points = np.array([[0.0, 0], [1, 0], [0, 2], [3, 1]])
    distances = squareform(pdist(points))
    assert kruskal(distances, points, True) == pytest.approx(0, abs=1e-12)
    assert kruskal(distances**3, points, False) == pytest.approx(0, abs=1e-12)  # a rising function
    asked = distances.copy()
    asked[0, 1] = asked[1, 0] = 9
    seen, wanted = pdist(points), asked[np.triu_indices(4, 1)]
    best = min(
        np.sqrt(((seen - f * wanted) ** 2).sum() / (seen**2).sum()) for f in np.linspace(0.01, 2, 4000)
    )  # fmt: skip
    assert kruskal(asked, points, True) == pytest.approx(best, abs=1e-5)
    assert 0 < kruskal(asked, points, False) < 1


def test_a_zero_off_the_diagonal_is_near_not_missing():
    points = np.array([[0.0, 0], [0, 0], [1, 0], [0, 1], [2, 2]])
    found = scale(Rdm(tuple("abcde"), squareform(pdist(points))), False)
    distances = squareform(pdist(found.points))
    assert distances[0, 1] < 0.3 * distances[np.triu_indices(5, 1)].max()


def test_heaps_are_called_so():
    assert collapsed(np.array([[0.0, 0], [0, 0.001], [1, 1]]))
    assert not collapsed(np.array([[0.0, 0], [0, 0.5], [1, 1]]))


def test_nothing_to_map():
    with pytest.raises(UsageError, match="all zero"):
        scale(Rdm(("a", "b", "c"), np.zeros((3, 3))), True)


def test_the_command_draws_and_writes(confusions, ring, tmp_path, capsys):
    write_embedding(ring(), tmp_path / "e")
    assert main(["mds", str(confusions), "--embedding", str(tmp_path / "e.npz"), "--source", "made up <b>"]) == 0
    out = capsys.readouterr().out
    assert "stress-1" in out and "Procrustes" in out and "made up" in out
    stem = tmp_path / "made_up_mds"
    content = json.loads(stem.with_suffix(".json").read_text())
    assert [m["metric"] for m in content["maps"]] == [True, False]
    assert all(0 <= m["stress"] < 0.3 and len(m["points"]) == 6 for m in content["maps"])
    assert read_picture(stem.with_suffix(".png")).std() > 5
    svg = stem.with_suffix(".svg").read_text()
    assert "non-metric MDS (stress" in svg and "happiness" in svg


def test_the_whole_similarity_of_a_run(own_run, tmp_path, confusions, capsys):
    command = ["similarity", "run/features/stage2.npz", "--human", str(confusions), "--weights"]
    command += ["run/stage2/snap_iter_6.caffemodel", "--deploy", "run/prototxt/deploy.prototxt"]
    assert main([*command, "--layers", "pool1,conv3,fc5", "--out", "run/similarity/stage2.json"]) == 0
    text = capsys.readouterr().out
    assert "synthetic" in text and "surprise/fear: " in text and "anger/disgust: overlap" in text
    content = json.loads((own_run / "similarity/stage2.json").read_text())
    train = content["parts"]["train"]
    assert list(train["rdms"]) == ["pool1", "conv3", "fc5", "fc6"]
    assert {a["reference"] for a in train["agreements"]} == {"people", "action units", "the paper's circle"}
    assert all(a["spearman_interval"] for a in train["agreements"] if a["layer"] == "conv3")
    assert len(train["overlaps"]) >= 10
    flat = train["circle"]["ratio"] < LINE  # of six iterations of a narrow net, either way
    assert train["circle"]["line"] == flat and train["circle"]["chance_either"] == (None if flat else "1/30")
    assert set(content["parts"]) == {"train", "held_out"}
    csv = (own_run / "similarity/stage2.csv").read_text().splitlines()
    assert len(csv) == 1 + 2 * 4 * 15
    assert read_picture(own_run / "similarity/stage2.png").std() > 5


def test_layers_and_matrices_that_do_not_fit(own_run, tmp_path, capsys):
    base = ["similarity", "run/features/stage2.npz"]
    weights = ["--weights", "run/stage2/snap_iter_6.caffemodel", "--deploy", "run/prototxt/deploy.prototxt"]
    assert main([*base, *weights, "--layers", "conv9"]) == 2
    assert "a blob 'conv9'" in capsys.readouterr().err
    three = tmp_path / "three.csv"
    three.write_text(",a,b,c\na,0,1,2\nb,1,0,2\nc,2,2,0\n")
    assert main([*base, "--human", str(three)]) == 2
    assert "six emotions" in capsys.readouterr().err


def test_the_papers_order_has_all_emotions():
    assert len(set(PAPER_ORDER)) == 6
