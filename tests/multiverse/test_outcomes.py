from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from siamplex.corpus.emotions import EMOTIONS
from siamplex.errors import UsageError
from siamplex.geometry.orders import (
    PAPER_ORDER,
    SWAPPED_ORDER,
    accuracy_interval,
    centroids,
    circular_orders,
    nearest_centroid,
)
from siamplex.multiverse.draws import Weights
from siamplex.multiverse.moments import Moments
from siamplex.multiverse.outcomes import OUTCOMES, measure, measure_embedding
from siamplex.multiverse.people import check_people, read_people
from siamplex.multiverse.store import read
from siamplex.multiverse.swaps import agreement, even_chances, swaps_to_paper
from siamplex.similarity.overlap import overlaps
from siamplex.similarity.patterns import of_embedding
from siamplex.similarity.rdm import of_circle
from tests.multiverse.conftest import ring


def draws(embedding, count=400) -> Weights:
    return Weights.draw(embedding.subjects, "subjects", count)


def test_swaps_are_steps_round_the_circle():
    assert swaps_to_paper(PAPER_ORDER) == 0 and swaps_to_paper(PAPER_ORDER[::-1]) == 0
    assert swaps_to_paper(SWAPPED_ORDER) == 1
    assert swaps_to_paper((PAPER_ORDER[5], *PAPER_ORDER[1:5], PAPER_ORDER[0])) == 1  # over the ends, too
    counts = np.bincount([swaps_to_paper(o) for o in circular_orders(EMOTIONS)])
    assert counts.sum() == 60 and counts[0] == 1 and counts[1] == 6
    # each order but the paper's is one swap from one that is nearer
    for order in circular_orders(EMOTIONS):
        near = []
        for i in range(6):
            moved = list(order)
            moved[i], moved[(i + 1) % 6] = moved[(i + 1) % 6], moved[i]
            near.append(swaps_to_paper(moved))
        own = swaps_to_paper(order)
        assert all(abs(n - own) <= 1 for n in near) and (own == 0 or min(near) == own - 1)


def test_orders_of_fewer_emotions():
    five = [e for e in PAPER_ORDER if e != "SP"]
    assert swaps_to_paper(five) == 0 and agreement(five) == (True, True)
    assert [str(c) for c in even_chances(EMOTIONS)] == ["1/60", "1/30"]
    assert [str(c) for c in even_chances(five)] == ["1/12", "1/12"]  # without surprise there is nothing to swap
    assert [str(c) for c in even_chances(["HA", "SP", "FE", "SA"])] == ["1/3", "2/3"]
    assert even_chances(five[:3]) is None and swaps_to_paper(five[:3]) is None
    assert agreement(["HA", "SP", "FE", "XX"]) is None  # not one of the paper's


def test_weights_of_one_give_what_the_geometry_gives():
    embedding = ring(noise=0.4).of_split("train")
    names = tuple(centroids(embedding.points, embedding.emotions))
    moments = Moments.of(embedding.points, embedding.subjects, embedding.emotions, names)
    once = np.ones((1, len(moments.subjects)))
    known = centroids(embedding.points, embedding.emotions)
    np.testing.assert_allclose(moments.means(once)[0], [known[e] for e in names], atol=1e-7)
    labels = np.array(embedding.emotions)
    for i, e in enumerate(names):
        spread = np.cov(embedding.points[labels == e].astype(float).T, bias=True)
        np.testing.assert_allclose(moments.covariances(once)[0, i], spread, atol=1e-9)
    np.testing.assert_allclose(moments.dissimilarities(once)[0], of_embedding(embedding).rdm().upper(names), atol=1e-7)
    # a subject that weighs twice is a subject that is there twice
    twice = np.ones((1, len(moments.subjects)))
    twice[0, 2] = 2
    more = [i for i, s in enumerate(embedding.subjects) if s == moments.subjects[2]]
    places = [*range(len(embedding)), *more]
    who, what = ([values[i] for i in places] for values in (embedding.subjects, embedding.emotions))
    doubled = Moments.of(embedding.points[places], who, what, names)
    np.testing.assert_allclose(moments.means(twice), doubled.means(once))


def test_a_known_ring():
    embedding = ring(flat=0.6, actors=12, noise=0.1)
    found = measure_embedding(embedding, of_circle(), draws(embedding))
    values = found.values
    assert list(values) == list(OUTCOMES)
    assert (values["order"], values["swaps"], values["agrees"]) == (
        "-".join(["HA", "DI", "AN", "SA", "FE", "SP"]),
        0,
        True,
    )
    assert values["ratio"] == pytest.approx(0.6, abs=0.05) and values["line"] is False
    held = embedding.of_split("test")
    assert values["held_out_accuracy"] == nearest_centroid(embedding.of_split("train"), held).accuracy
    assert values["held_out_chance"] == pytest.approx(1 / 6)
    assert values["rho_people"] > 0.7
    couples = {frozenset(o.emotions): o for o in overlaps(embedding.of_split("train"), count=0)}
    for a, b in (("SP", "FE"), ("AN", "DI")):
        assert values[f"overlap_{a}_{b}"] == couples[frozenset((a, b))].overlap
        assert values[f"overlap_rank_{a}_{b}"] == couples[frozenset((a, b))].rank
    # what is drawn lies about what was found, and never is what it cannot be
    for name, drawn in found.drawn.items():
        assert drawn.shape == (400,) and drawn.min() <= values[name] + 1e-9 and drawn.max() >= values[name] - 1e-9, name
    ranks = found.drawn["overlap_rank_SP_FE"]
    assert set(ranks) <= set(range(1, 16))


def test_drawn_overlaps_and_orders_are_those_of_weighted_subjects():
    """Draws that name each subject once give the point values, whatever the outcome."""
    embedding = ring(noise=0.3)
    ones = Weights(tuple(sorted(set(embedding.subjects))), np.ones((60, 9)))
    found = measure_embedding(embedding, of_circle(), ones)
    assert len(found.drawn) == 11
    for name, drawn in found.drawn.items():
        np.testing.assert_allclose(drawn, found.values[name], atol=1e-6, err_msg=name)
        assert found.interval(name) == pytest.approx((found.values[name],) * 2, abs=1e-6)


def test_accuracy_intervals_are_as_wide_as_geometrys():
    embedding = ring(noise=0.9, actors=60)
    held = embedding.of_split("test")
    mine = measure_embedding(embedding, None, draws(embedding, 2000)).interval("held_out_accuracy")
    known = accuracy_interval(nearest_centroid(embedding.of_split("train"), held).guesses, held)
    assert mine == pytest.approx(known, abs=0.03)


def test_a_line_has_no_order():
    embedding = ring(flat=0.05)
    found = measure_embedding(embedding, None, draws(embedding))
    assert found.values["line"] is True
    assert {found.values[n] for n in ("order", "swaps", "agrees", "agrees_either")} == {None}
    assert "swaps" not in found.drawn and found.values["ratio"] < 0.2


def test_tight_happiness():
    embedding = ring(noise=0.3)
    mine = np.array(embedding.emotions) == "HA"
    embedding.points[mine] = embedding.points[mine].mean(axis=0) + 0.1 * (
        embedding.points[mine] - embedding.points[mine].mean(axis=0)
    )
    found = measure_embedding(embedding, None, draws(embedding))
    assert found.values["happiness_rank"] == 1 and found.values["happiness_spread"] < 0.3
    assert found.interval("happiness_rank") == (1, 1)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_fewer_emotions(count):
    for order in combinations(PAPER_ORDER, count):
        embedding = ring(order=order, noise=0.05)
        values = measure_embedding(embedding, of_circle(), draws(embedding, 60)).values
        assert (values["swaps"] == 0) if count > 3 else (values["swaps"] is None)
        assert values["held_out_accuracy"] == 1 and values["held_out_chance"] == pytest.approx(1 / count)
        assert (values["rho_people"] is None) == (count < 3)
        assert (values["overlap_SP_FE"] is None) == (not {"SP", "FE"} <= set(order))
        assert (values["happiness_rank"] is None) == ("HA" not in order)


def test_one_or_two_subjects_have_no_intervals():
    for actors in (1, 2):
        embedding = ring(actors=actors)
        found = measure_embedding(embedding, None, draws(embedding))
        assert found.values["ratio"] > 0.5 and not found.drawn
        assert found.values["held_out_accuracy"] is None  # nobody is held out


def test_other_dimensions_and_broken_points():
    embedding = ring()
    embedding.points[3, 1] = np.nan
    assert set(measure_embedding(embedding, None, draws(embedding)).values.values()) == {None}
    deep = ring()
    points = np.c_[deep.points, np.ones(len(deep), np.float32)].astype(np.float32)
    deep = type(deep)(points, deep.images, deep.subjects, deep.emotions, deep.splits, deep.facts)
    values = measure_embedding(deep, None, draws(deep)).values
    assert values["order"] is None and values["ratio"] is None and values["held_out_accuracy"] > 0.9


def test_learning_of_cells(put, tmp_path):
    put({"scale": 1}, None)
    put({"scale": 2}, ring(), learnt=0.94)
    put({"scale": 3}, ring(), learnt=0.96)
    put({"scale": 4}, ring(), learnt=None)
    weights = draws(ring())
    found = [
        measure(cell, None if cell.learning.diverged else cell.embedding(), None, weights).values
        for cell in read(tmp_path)
    ]
    assert [(v["diverged"], v["learnt"]) for v in found] == [
        (True, False),
        (False, True),
        (False, False),
        (False, None),
    ]
    assert {v for k, v in found[0].items() if k not in ("diverged", "learnt")} == {None}
    assert found[1]["validation_ratio"] == pytest.approx(0.94)


def test_people_of_some_of_the_emotions(tmp_path):
    table = tmp_path / "people.csv"
    table.write_text(",happy,sad,fear,angry\nhappy,0,3,4,5\nsad,3,0,1,2\nfear,4,1,0,1.5\nangry,5,2,1.5,0\n")
    rdm = read_people(table, ring(), tmp_path)
    assert rdm.names == ("HA", "SA", "FE", "AN") and rdm.upper().tolist() == [3, 4, 5, 1, 2, 1.5]
    few = read_people(table, ring(order=("HA", "SP", "SA", "AN")), tmp_path)
    assert few.names == ("HA", "SA", "AN")
    with pytest.raises(
        UsageError, match=r"people.csv: expected 3 or more of .*found sadness, fear|found fear, sadness"
    ):
        read_people(table, ring(order=("DI", "SP", "SA", "FE")), tmp_path)


def test_people_are_refused_before_any_training(small_run, tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("a,b,c,d\na,0,1,2\nb,1,0,3\nc,2,3,0\n".replace("a,b,c,d", ",a,b,c", 1))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/pairs").symlink_to(small_run / "indexed")
    with pytest.raises(UsageError, match="found none"):
        check_people(tmp_path / "run", table)
    images = [e.split(",")[0] for e in (small_run / "indexed/index.csv").read_text().splitlines()[1:]]
    table.write_text("image,response\n" + "".join(f"{i},{i.split('_')[1]}\n" for i in images))
    check_people(tmp_path / "run", table)
    table.write_text("image,response\n" + "".join(f"{i},HA\n" for i in images[:1]))
    with pytest.raises(UsageError, match="an emotion without one"):
        check_people(tmp_path / "run", table)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-12, 1e12])
def test_dead_nets(scale):
    """All images on one point, or as good as: a line, no order, no accuracy beyond one emotion's share."""
    embedding = ring()
    embedding.points[:] *= scale
    found = measure_embedding(embedding, of_circle(), draws(embedding))
    values = found.values
    assert all(np.isfinite(v) for v in values.values() if isinstance(v, float))
    assert all(np.isfinite(d).all() for d in found.drawn.values())
    if not scale:
        assert values["ratio"] == 0 and values["line"] is True and values["order"] is None
        assert values["held_out_accuracy"] == values["held_out_chance"]
        assert values["overlap_SP_FE"] == 1 and values["happiness_spread"] == 1 and values["rho_people"] == 0
    else:
        assert values["order"] == measure_embedding(ring(), None, draws(embedding)).values["order"]
