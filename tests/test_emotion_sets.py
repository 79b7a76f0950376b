"""Any set of at least two emotions through every step."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from siamplex.audit.audit import audit
from siamplex.audit.corpus_checks import not_comparable
from siamplex.cli import main
from siamplex.corpus_index import read_index
from siamplex.embedding import Embedding, read_embedding
from siamplex.emotion_words import chosen
from siamplex.emotions import EMOTIONS, NAMES
from siamplex.errors import UsageError
from siamplex.figures import STYLE
from siamplex.geometry import PAPER_ORDER, SWAPPED_ORDER, canonical, order_agreement, paper_order
from siamplex.images import read_picture
from siamplex.similarity.rdm import of_circle
from siamplex.similarity.report import describe


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("six", EMOTIONS),
        ("six,neutral", (*EMOTIONS, "NE")),
        ("contempt, SA,happy", ("HA", "SA", "CO")),
        ("fröhlich,calm", ("HA", "CA")),
        ("neutral,six,calm,contempt", (*EMOTIONS, "NE", "CA", "CO")),
    ],
)
def test_lists_of_emotions(text, found):
    assert chosen(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("happy", "at least two, found 'happy'"),
        ("happy,HA", "at least two"),
        ("happy,,sad", "found ''"),
        ("happy,bored", "found 'bored'"),
        ("", "found ''"),
    ],
)
def test_no_lists_of_emotions(text, message):
    with pytest.raises(UsageError, match=message):
        chosen(text)


def test_every_emotion_has_a_colour_and_a_marker_of_its_own():
    assert set(STYLE) == set(NAMES)
    assert len({colour for colour, _ in STYLE.values()}) == len({marker for _, marker in STYLE.values()}) == len(NAMES)


class TestOrders:
    @pytest.mark.parametrize(
        "members",
        [PAPER_ORDER, tuple(e for e in PAPER_ORDER if e != "SP"), ("HA", "SP", "FE", "AN"), ("SA", "AN", "DI", "HA"),
         (*PAPER_ORDER, "NE"), ("HA", "NE", "SP", "CO", "FE", "SA")],
    )  # fmt: skip
    def test_agreement_and_chance_are_of_the_papers_emotions_that_are_there(self, members):
        known = paper_order(members)
        seen = {o.order: o for o in map(order_agreement, permutations(members)) if len(members) < 7}
        if seen:  # chance is the share of all orders, extra emotions standing anywhere
            either = [o for o in seen.values() if o.agrees_either]
            assert Fraction(sum(bool(o.agrees) for o in seen.values()), len(seen)) == either[0].chance_one
            assert Fraction(len(either), len(seen)) == either[0].chance_either
        found = order_agreement(members if known == PAPER_ORDER else (*known, *(m for m in members if m not in known)))
        assert found.agrees and found.compared == known
        assert canonical(found.order) == found.order and set(found.order) == set(members)
        swapped = [e for e in SWAPPED_ORDER if e in members]
        assert order_agreement(swapped).agrees_swapped

    def test_chances_by_hand(self):
        five = order_agreement([e for e in PAPER_ORDER if e != "DI"])
        assert (five.chance_one, five.chance_either) == (Fraction(1, 12), Fraction(1, 6))
        no_surprise = order_agreement([e for e in PAPER_ORDER if e != "SP"])  # nothing to swap
        assert (no_surprise.chance_one, no_surprise.chance_either) == (Fraction(1, 12), Fraction(1, 12))
        four = order_agreement(["HA", "SA", "AN", "DI"])
        assert four.agrees and four.chance_one == Fraction(1, 3)
        assert not order_agreement(["HA", "AN", "SA", "DI"]).agrees

    def test_three_have_one_order_alone(self):
        for order in (["HA", "SA", "AN"], ["HA", "NE", "SA", "CO"]):
            found = order_agreement(order)
            assert found.agrees is found.agrees_either is found.chance_one is found.chance_either is None


def test_the_audit_says_what_can_no_longer_be_compared():
    assert not_comparable(EMOTIONS) == ""
    words = not_comparable(("AN", "FE", "DI", "HA", "SA", "NE"))
    for part in (
        "without surprise Table 1", "over 5 emotions (chance 1/12, of either order 1/12",
        "no overlap of surprise and fear", "neutral has no place",
    ):  # fmt: skip
        assert part in words
    assert "anger and disgust" not in words
    assert "cannot be compared" in not_comparable(("HA", "SA"))
    assert "over 6" not in not_comparable((*EMOTIONS, "NE")) and "Table 1" not in not_comparable((*EMOTIONS, "NE"))


def ring(order, subjects=6, seed=0):
    """An embedding of emotions evenly round a circle in ``order``."""
    stream = np.random.default_rng(seed)
    angles = {e: 2 * np.pi * i / len(order) for i, e in enumerate(order)}
    labels = [(f"s{s}", e) for s in range(subjects) for e in order]
    points = [[np.cos(angles[e]), np.sin(angles[e])] for _, e in labels] + stream.normal(0, 0.02, (len(labels), 2))
    splits = ["train" if s != "s5" else "test" for s, _ in labels]
    return Embedding(
        np.asarray(points, np.float32), [f"{s}{e}" for s, e in labels], [s for s, _ in labels],
        [e for _, e in labels], splits, {"notes": []},
    )  # fmt: skip


@pytest.mark.parametrize("extra", [(), ("NE",), ("NE", "CO")])
@pytest.mark.parametrize("missing", [(), ("SP",), ("SP", "FE")])
def test_similarity_compares_what_both_have(extra, missing):
    order = tuple(e for e in PAPER_ORDER if e not in missing)
    embedding = ring((*order, *extra))
    result = describe(embedding)
    part = result["parts"]["train"]
    assert part["circle"]["agrees"] and part["circle"]["share_either"] > 0.9
    assert set(result["emotions"]) == {*order, *extra}
    circle = next(a for a in part["agreements"] if a["reference"] == "the paper's circle")
    train = embedding.of_split("train")
    means = [train.points[np.array(train.emotions) == e].mean(axis=0) for e in order]
    expected = spearmanr(pdist(np.array(means)), of_circle(order).upper()).statistic
    assert circle["spearman"] == pytest.approx(expected) and len(
        result["references"]["the paper's circle"]["names"]
    ) == len(order)
    count = len(order) + len(extra)
    assert len(part["overlaps"]) == count * (count - 1) // 2 and part["actors"]["actors"] == 5


SETS = {
    "two": {"HA": "HA", "SA": "SA"},
    "three": {"HA": "HA", "SA": "calm", "AN": "contempt"},
    "five": {e: e for e in EMOTIONS if e != "SP"},
    "eight": {**{e: e for e in EMOTIONS}, "HA_O": "contempt", "AN_O": "neutral"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_step_takes_any_set(name, faces, tmp_path, monkeypatch):
    """Drawn faces under other labels: what is asked is whether every step goes through and says what it can."""
    monkeypatch.chdir(tmp_path)
    labels = SETS[name]
    rows = []
    for path in sorted(faces.glob("*.BMP")):
        subject, emotion, variant = path.stem.split("_")[:3]
        said = labels.get(f"{emotion}_{variant[0]}", labels.get(emotion))
        if said:
            rows.append(f"{path},{subject},{said}")
    (tmp_path / "t.csv").write_text("path,subject,emotion\n" + "\n".join(rows) + "\n")
    emotions = chosen(",".join(labels.values()))

    def run(text):
        assert main(text.split()) == 0

    run(f"index t.csv --emotions {','.join(emotions)}")
    index = read_index(tmp_path / "run/index.csv")
    assert index.emotions == emotions
    run("pairs --size 35 --fractions 0.6 0.2 0.2")
    table = (tmp_path / "run/pairs/table1.csv").read_text()
    assert table.count("\nall,") == len(emotions) * (len(emotions) + 1) // 2
    run("prototxt --pairs run/pairs --nets run/prototxt --solvers run/solvers --width 0.125 --iterations 2 "
        "--display 1 --snapshot 2 --batch-size 16 --stage2-batch-size 8")  # fmt: skip
    run("weights --deploy run/prototxt/deploy.prototxt")
    start = "run/weights/init.caffemodel"
    for stage in (1, 2):
        run(f"train --solver run/solvers/stage{stage}_indexed.prototxt "
            f"--weights {start},run/pairs/images.caffemodel")  # fmt: skip
        start = f"run/stage{stage}/snap_iter_2.caffemodel"
    deploy = "--deploy run/prototxt/deploy.prototxt"
    run(f"extract --weights run/stage1/snap_iter_2.caffemodel {deploy} --out run/features/stage1_iter_2.npz")
    run(f"extract --weights {start} {deploy} --out run/features/stage2.npz")
    run("geometry run/features/stage2.npz --out run/geometry/stage2.json")
    run("figures --stage1 run/features/stage1_iter_2.npz --stage2 run/features/stage2.npz --out run/figures")
    run(f"similarity run/features/stage2.npz --weights {start} {deploy} --pairs run/pairs --layers conv3,fc6 "
        "--out run/similarity/stage2.json")  # fmt: skip
    run("seeds run --seeds 2 --or-substitute")
    (finding,) = [f for f in audit(tmp_path / "run") if f.setting == "emotions"]
    run("report run")

    assert set(read_embedding(tmp_path / "run/features/stage2.npz").emotions) == set(emotions)
    geometry = json.loads((tmp_path / "run/geometry/stage2.json").read_text())["train"]
    assert list(geometry["centroids"]) == list(emotions)
    if "order" in geometry:
        chance = {"three": None, "five": "1/12", "eight": "1/60"}[name]
        assert geometry["order"]["chance_one"] == chance and len(geometry["order"]["found"]) == len(emotions)
    else:
        assert name == "two" or len(geometry["line"]) == len(emotions)
    svg = (tmp_path / "run/figures/fig5.svg").read_text().replace("\n", "")
    for code in NAMES:
        assert (f">{code.lower()} " in svg) == (code in emotions)
    assert read_picture(tmp_path / "run/similarity/stage2.png").std() > 1
    structure = json.loads((tmp_path / "run/similarity/stage2.json").read_text())["parts"]
    known = len(paper_order(emotions))
    for part in structure.values():
        assert {a["reference"] for a in part["agreements"]} == (
            {"action units", "the paper's circle"} if known > 3 else set()
        )
        assert len(part["rdms"]["fc6"]["names"]) == len(emotions)
    seeds = json.loads((tmp_path / "run/seeds/seeds.json").read_text())
    assert all(len(s["order"]) == len(emotions) for s in seeds["seeds"])
    assert (seeds["agrees"] is None) or known > 3
    assert finding.verdict == "differs" and ("cannot be compared" in finding.why) == (known < 4)
    assert finding.run == ", ".join(NAMES[e] for e in emotions)
    page = (tmp_path / "run/report/report.html").read_text()
    for code in emotions:
        assert f'"code":"{code}"' in page
    assert ("one order in 60" in page) == (name == "eight") and ("one order in 12" in page) == (name == "five")
