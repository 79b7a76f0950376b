from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamplex.corpus.emotions import EMOTIONS
from siamplex.errors import UsageError
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import (
    PAPER_ORDER,
    accuracy_interval,
    canonical,
    centroids,
    circular_order,
    circular_orders,
    line_order,
    linear_accuracy,
    nearest_centroid,
    on_a_line,
    order_agreement,
    separability,
    singular_ratio,
)
from siamplex.geometry.report import as_text, describe


def ring(order, spread=0.0, count=12, seed=0, split="train", turn=0.0):
    """Images of each emotion about a point of a circle, in the given order."""
    stream = np.random.default_rng(seed)
    points, emotions = [], []
    for i, emotion in enumerate(order):
        angle = turn + 2 * np.pi * i / len(order)
        centre = 3 * np.array([np.cos(angle), np.sin(angle)]) + 10
        points.append(centre + stream.normal(0, spread, (count, 2)))
        emotions += [emotion] * count
    n = len(emotions)
    subjects = [f"{split}{i % 3}" for i in range(n)]
    return Embedding(
        np.concatenate(points).astype(np.float32), [f"i{k}" for k in range(n)], subjects, emotions, [split] * n, {}
    )


@given(st.permutations(EMOTIONS), st.floats(0, 6.28), st.booleans())
def test_the_order_is_found_whatever_turn_and_direction(order, turn, mirrored):
    embedding = ring(order, spread=0.2, turn=turn)
    points = embedding.points * np.array([-1, 1]) if mirrored else embedding.points
    assert circular_order(centroids(points, embedding.emotions)) == canonical(order)


def test_sixty_orders_and_their_chances():
    orders = set(circular_orders(EMOTIONS))
    assert len(orders) == len(list(circular_orders(EMOTIONS))) == 60
    assert orders == {canonical(p) for p in permutations(EMOTIONS)}
    agreement = order_agreement(PAPER_ORDER)
    assert agreement.chance_one == Fraction(1, 60) and agreement.chance_either == Fraction(1, 30)


@pytest.mark.parametrize(
    ("order", "agrees", "swapped"),
    [
        ("HA SP FE SA AN DI", True, False),
        ("DI AN SA FE SP HA", True, False),
        ("SA AN DI HA FE SP", False, True),
        ("HA SA FE SP AN DI", False, False),
    ],
)
def test_agreement_with_the_paper(order, agrees, swapped):
    found = order_agreement(order.split())
    assert (found.agrees, found.agrees_swapped) == (agrees, swapped)


def test_separability():
    apart = ring(EMOTIONS, spread=0.1)
    assert all(separability(apart.points, apart.emotions).values())
    mixed = ring(EMOTIONS, spread=8.0)
    assert not any(separability(mixed.points, mixed.emotions).values())
    inside = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    assert separability(inside, ["HA", "SA", "SA", "SA", "SA"]) == {"HA": False, "SA": False}


def test_classifiers_use_training_subjects_only():
    train, held = ring(EMOTIONS, 0.2), ring(EMOTIONS, 0.2, seed=1, split="test")
    assert nearest_centroid(train, held).accuracy == 1.0
    assert linear_accuracy(train, held) == 1.0
    turned = ring(EMOTIONS, 0.2, seed=1, split="test", turn=np.pi)
    result = nearest_centroid(train, turned)
    assert result.accuracy == 0.0
    assert result.confusion["AN"]["HA"] == 12  # opposite on the ring


def test_the_linear_rule_knows_the_spread():
    """Two long, slanted clouds side by side: their centroids alone do not part them."""
    stream = np.random.default_rng(0)

    def clouds(split):
        along = stream.normal(0, 4, (2, 60, 1)) * np.array([1, 1])
        points = along + stream.normal(0, 0.2, (2, 60, 2)) + np.array([[[0, 0]], [[1, -1]]])
        emotions = ["HA"] * 60 + ["SA"] * 60
        return Embedding(points.reshape(120, 2).astype(np.float32), emotions, emotions, emotions, [split] * 120, {})

    train, held = clouds("train"), clouds("test")
    assert linear_accuracy(train, held) > 0.97


def test_report():
    both = ring(PAPER_ORDER, 0.1), ring(PAPER_ORDER, 0.1, seed=1, split="test")
    joined = Embedding(
        np.concatenate([b.points for b in both]),
        *([*getattr(both[0], f), *getattr(both[1], f)] for f in ("images", "subjects", "emotions", "splits")),
        {"weights": "w", "notes": ["faces are synthetic"]},
    )
    geometry = describe(joined)
    assert geometry["train"]["order"]["agrees"] and geometry["test"]["order"]["agrees"]
    assert geometry["test"]["nearest_centroid_accuracy"] == 1.0 and "val" not in geometry
    text = as_text(geometry)
    assert "note: faces are synthetic" in text and "the paper's order (chance 1/60)" in text
    with pytest.raises(UsageError, match="needs training subjects"):
        describe(both[1])


def test_an_accuracy_has_an_interval_over_subjects():
    train = ring(PAPER_ORDER, 0.4)
    test = ring(PAPER_ORDER, 1.6, seed=5, split="test")
    guesses = nearest_centroid(train, test).guesses
    accuracy = nearest_centroid(train, test).accuracy
    low, high = accuracy_interval(guesses, test)
    assert low <= accuracy <= high and high - low > 0.01
    assert accuracy_interval(guesses, test) == (low, high)
    # all right for one subject, all wrong for two others: resamples are all right, or all wrong, or between
    sure = [e if s == "test0" else "none" for e, s in zip(test.emotions, test.subjects, strict=True)]
    assert accuracy_interval(sure, test) == (0.0, 1.0)
    pair = test.of_split("test")
    pair.subjects[:] = ["a" if s == "test0" else "b" for s in pair.subjects]
    assert accuracy_interval(guesses, pair) is None


def squeezed(ratio, **options):
    """A ring whose second axis is a ``ratio`` of the first."""
    found = ring(PAPER_ORDER, **options)
    found.points[:] = (found.points - 10) * np.array([1, ratio], np.float32)
    return found


@given(st.floats(0.01, 1), st.floats(0, 6.28))
def test_the_singular_ratio_is_that_of_the_ellipse(ratio, turn):
    stack = np.array(list(centroids(squeezed(ratio).points, squeezed(ratio).emotions).values()))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert singular_ratio(stack @ rotation.T + 5) == pytest.approx(ratio, rel=1e-4)


def test_a_point_and_a_line_have_no_roundness():
    assert singular_ratio(np.ones((6, 2))) == 0
    assert singular_ratio(np.c_[np.arange(6.0), 2 * np.arange(6.0)]) == pytest.approx(0, abs=1e-9)


@given(st.permutations(EMOTIONS), st.floats(0, 6.28), st.booleans())
def test_the_order_along_a_line(order, turn, bent):
    """Whatever way the line lies, and also where it is bent a little; HA's end comes first."""
    along = np.arange(6.0) - 2.5
    across = 0.05 * along**2 if bent else np.zeros(6)
    places = along[:, None] * [np.cos(turn), np.sin(turn)] + across[:, None] * [-np.sin(turn), np.cos(turn)]
    centres = dict(zip(order, places, strict=True))
    assert on_a_line(centres)
    found = line_order(centres)
    assert found in (tuple(order), tuple(order[::-1])) and found.index("HA") < 3


def test_without_happy_the_alphabet_decides():
    centres = {e: np.array([float(x), 0.0]) for e, x in (("SP", 0), ("AN", 2), ("DI", 1))}
    assert line_order(centres) == ("AN", "DI", "SP")


def test_no_circular_order_is_claimed_of_a_line():
    flat = describe(squeezed(0.1, spread=0.01))
    assert "order" not in flat["train"] and flat["train"]["singular_ratio"] == pytest.approx(0.1, abs=0.01)
    assert set(flat["train"]["line"]) == set(EMOTIONS)
    text = as_text(flat)
    assert "on a line (ratio below 0.2), which has no circular order; along it" in text
    assert "chance" not in text and "the paper's order (" not in text
    rounder = describe(squeezed(0.3, spread=0.01))
    assert rounder["train"]["order"]["agrees"] and "line" not in rounder["train"]


def test_losses_stand_beside_the_label_blind_ones():
    found = describe(ring(PAPER_ORDER, spread=0.1))["train"]
    assert found["pair_loss"] < 0.1 * found["label_blind_loss"]
    assert f"label-blind {found['label_blind_loss']:.4g}" in as_text(describe(ring(PAPER_ORDER, spread=0.1)))
