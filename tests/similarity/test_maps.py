from __future__ import annotations

import json
import re

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from siamplex.cli import main
from siamplex.corpus.images import read_picture
from siamplex.errors import InputError, UsageError
from siamplex.geometry.embedding import write_embedding
from siamplex.geometry.orders import LINE, PAPER_ORDER, circular_order, order_agreement
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
        (",a,b,c\na,1,4,2\nb,1,1,2\nc,2,2,1\n", "--kind says"),
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
    even = np.ones((3, 3)) - np.eye(3)
    assert collapsed(even, np.array([[0.0, 0], [0, 0.001], [1, 1]]))
    assert not collapsed(even, np.array([[0.0, 0], [0, 0.5], [1, 1]]))


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


# fear and surprise a hundredth of the circle's width apart: a nearness the dissimilarities show
def near_planar(seed: int) -> Rdm:
    stream = np.random.default_rng(seed)
    angles = np.arange(6) * np.pi / 3 + stream.uniform(-0.2, 0.2, 6)
    points = np.c_[np.cos(angles), np.sin(angles)] * stream.uniform(0.8, 1.2, (6, 1))
    at = dict(zip(PAPER_ORDER, points, strict=True))
    at["FE"] = at["SP"] + 0.02 * np.array([np.cos(seed), np.sin(seed)])
    return Rdm(PAPER_ORDER, squareform(pdist(np.array([at[e] for e in PAPER_ORDER]))))


@pytest.mark.parametrize("seed", range(12))
def test_two_items_truly_close_are_no_heap(seed):
    """The non-metric map has the order of the points, whichever of fear and surprise comes first."""
    rdm = near_planar(seed)
    metric, found = scale(rdm, True), scale(rdm, False)
    assert metric.stress < 1e-3 and not metric.collapsed
    assert found.stress < 0.02 and not found.collapsed
    order = order_agreement(circular_order(dict(zip(found.names, found.points, strict=True))))
    assert order.agrees or order.agrees_swapped


@pytest.mark.parametrize("power", [0.5, 2])
def test_nearness_is_seen_through_a_rising_function(power):
    rdm = near_planar(3)
    assert not scale(Rdm(rdm.names, rdm.values**power), False).collapsed


def test_a_map_of_heaps_over_even_dissimilarities_is_degenerate():
    """Two heaps fit any order in which all within are less than all between, with no stress."""
    inside, between = 1.0, 1.4
    groups = np.array([0, 0, 0, 1, 1, 1])
    values = np.where(groups[:, None] == groups[None], inside, between)
    np.fill_diagonal(values, 0)
    heaps = np.c_[groups, np.zeros(6)].astype(float) + 1e-4 * np.random.default_rng(0).normal(size=(6, 2))
    assert kruskal(values, heaps, False) < 1e-3 and collapsed(values, heaps)
    assert not collapsed(np.where(values == inside, 0.01, values), heaps)  # these show it


STOCHASTIC = """,happy,surprised,afraid,sad,angry,disgusted
happy,0.95,0.03,0.01,0.00,0.00,0.01
surprised,0.02,0.85,0.11,0.01,0.01,0.00
afraid,0.06,0.28,0.19,0.20,0.12,0.15
sad,0.01,0.01,0.05,0.80,0.06,0.07
angry,0.00,0.01,0.03,0.06,0.78,0.12
disgusted,0.00,0.01,0.02,0.07,0.22,0.68
"""


@pytest.mark.parametrize("scale_by", [1, 100])
def test_shares_are_confusions_wherever_their_largest_lies(tmp_path, scale_by):
    """A forced choice in which fear is mostly called surprise."""
    path = tmp_path / "m.csv"
    header, *rows = STOCHASTIC.splitlines()
    scaled = [
        ",".join([r.split(",")[0], *(str(round(float(c) * scale_by, 2)) for c in r.split(",")[1:])]) for r in rows
    ]
    path.write_text("\n".join([header, *scaled]))
    found = read_judgements(path)
    assert found.kind == "confusion" and set(found.names) == set(PAPER_ORDER)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,0.9,0.3,0.3\nb,0.05,0.2,0.6\nc,0.05,0.5,0.1\n", "columns that sum to one"),
        ("a,0,0.5,0.5\nb,0.9,0,0.1\nc,0.4,0.6,0\n", "wrong answers alone, or dissimilarities"),
        ("a,1,0.4,0.1\nb,0.4,1,0.2\nc,0.1,0.2,1\n", "similarities?"),
        ("a,0.5,0.4,0.0\nb,0.6,0.2,0.0\nc,0.1,0.2,0.6\n", "none of these"),  # 'none of the above' is missing
    ],
)
def test_what_may_be_one_of_several_is_asked(tmp_path, rows, said):
    path = tmp_path / "m.csv"
    path.write_text(f",a,b,c\n{rows}")
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        read_judgements(path)
    assert "--kind" in str(refused.value)
    assert read_judgements(path, "similarity").kind == "similarity"


def test_counts_with_the_largest_on_the_diagonal_are_confusions(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(",a,b,c\na,17,4,2\nb,1,9,2\nc,2,2,21\n")
    assert read_judgements(path).kind == "confusion"


@pytest.mark.parametrize("words", ["angry sad happy fearful disgusted surprised", "ANGER Sad HA afraid di SURPRISE"])
def test_emotions_by_any_word_that_index_takes(ring, tmp_path, capsys, words):
    write_embedding(ring(), tmp_path / "e")
    path = tmp_path / "m.csv"
    values = of_circle().values
    rows = [f"{w},{','.join(map(str, row))}" for w, row in zip(words.split(), values, strict=True)]
    path.write_text("\n".join([f",{','.join(words.split())}", *rows]))
    assert main(["mds", str(path), "--embedding", str(tmp_path / "e.npz")]) == 0
    out = capsys.readouterr().out
    assert "circular order" in out and "Procrustes" in out


def test_what_cannot_be_said_of_other_items_is_said(ring, tmp_path, capsys):
    write_embedding(ring(), tmp_path / "e")
    path = tmp_path / "m.csv"
    path.write_text(",angry,sad,contempt\nangry,0,1,2\nsad,1,0,2\ncontempt,2,2,0\n")
    assert main(["mds", str(path)]) == 0
    out = capsys.readouterr().out
    assert "no circular order is given" in out and "lacking happiness, surprise, fear, disgust and with contempt" in out
    assert main(["mds", str(path), "--embedding", str(tmp_path / "e.npz"), "--out", str(tmp_path / "with")]) == 2
    assert "--embedding: expected a matrix of the six emotions" in capsys.readouterr().err
    assert not list(tmp_path.glob("with*"))


def test_names_with_dots_keep_their_outputs_apart(tmp_path, ring, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_embedding(ring(), tmp_path / "e")
    for name in ("study.a.csv", "study.b.csv"):
        (tmp_path / name).write_text(CONFUSIONS)
        assert main(["mds", name]) == 0
    assert main(["mds", "study.a.csv", "--out", "people.v2"]) == 0
    assert main(["mds", "study.a.csv", "--out", "people.v3.png"]) == 0
    stems = ("study.a_mds", "study.b_mds", "people.v2", "people.v3")
    assert all((tmp_path / f"{stem}{e}").exists() for stem in stems for e in (".png", ".svg", ".json"))
    for out in ("geo.1", "geo.2", "geo.v3.json"):
        assert main(["geometry", "e.npz", "--out", out]) == 0
    assert all((tmp_path / name).exists() for name in ("geo.1.txt", "geo.2.txt", "geo.v3.txt", "geo.1", "geo.v3.json"))
    for out in ("sim.1", "sim.2"):
        assert main(["similarity", "e.npz", "--out", out]) == 0
    assert (tmp_path / "sim.1.png").exists() and (tmp_path / "sim.2.csv").exists()
    write_embedding(ring(), tmp_path / "run.5")
    assert (tmp_path / "run.5.npz").exists() and (tmp_path / "run.5.csv").exists()


def test_no_interval_of_one_subject(ring, tmp_path, capsys):
    """A resample of one person is that person: [+0.22, +0.22] would say that nothing is uncertain."""
    from dataclasses import replace

    whole = ring()
    one = replace(whole, subjects=["01F"] * len(whole), splits=["train"] * len(whole))
    write_embedding(one, tmp_path / "one")
    assert main(["similarity", str(tmp_path / "one.npz"), "--out", str(tmp_path / "s.json")]) == 0
    part = json.loads((tmp_path / "s.json").read_text())["parts"]["train"]
    assert all(a["spearman_interval"] is None and a["kendall_interval"] is None for a in part["agreements"])
    assert all(o["overlap_interval"] is None for o in part["overlaps"])
    assert part["circle"]["share_either"] is None
    out = capsys.readouterr().out
    assert "of whom no interval can be had" in out and "resamples;" not in out
