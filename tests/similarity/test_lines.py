"""Emotions on a line: their order along it, and nothing claimed of a circle."""

from __future__ import annotations

import numpy as np
import pytest

from siamplex.geometry.orders import PAPER_ORDER, centroids, line_order
from siamplex.similarity.actors import order_counts, per_actor, summary
from siamplex.similarity.circle import circle
from siamplex.similarity.map_report import describe_maps
from siamplex.similarity.matrices import Judgements
from siamplex.similarity.mds import Map
from siamplex.similarity.report import as_text, describe


@pytest.fixture
def line(ring):
    found = ring()
    found.points[:, 1] *= 0.05
    return found


def test_no_share_and_no_chance(line, ring):
    found = circle(line, [])
    assert found.line and found.ratio == pytest.approx(0.05, abs=0.02)
    assert found.order == line_order(centroids(line.points, line.emotions))
    assert (found.agrees, found.chance, found.share, found.agreement) == (None, None, None, None)
    assert not circle(ring(), [], count=5).line


def test_no_p_against_the_circle(line, ring):
    part = describe(line)["parts"]["train"]
    by = {a["reference"]: a for a in part["agreements"] if a["layer"] == "fc6"}
    assert by["the paper's circle"]["spearman_p"] is None and by["the paper's circle"]["kendall_p"] is None
    assert by["action units"]["spearman_p"] > 0  # distances along a line are distances
    assert part["map_fits"]["the paper's circle"]["p"] is None
    text = as_text(describe(line))
    assert "on a line" in text and "chance" not in text and "not the paper's" not in text
    whole = describe(ring())["parts"]["train"]
    assert all(a["spearman_p"] for a in whole["agreements"]) and not whole["circle"]["line"]


def test_actors_on_a_line_are_counted(line, ring):
    flat = summary(per_actor(line))
    assert flat["on_a_line"] == flat["actors"] == 8 and flat["in_the_papers_order"] == 0
    assert order_counts(flat) == "all with their emotions on a line"
    half = ring()
    some = np.array(half.subjects) < "04"
    half.points[some, 1] *= 0.02
    mixed = summary(per_actor(half))
    assert mixed["on_a_line"] == 4
    assert order_counts(mixed) == "4 in the paper's order of 4, 4 with their emotions on a line"
    assert order_counts(summary(per_actor(ring()))) == "8 in the paper's order"


def test_maps_of_judgements_too(ring):
    places = np.array([[float(i), 0.05 * (i % 2)] for i in range(6)])
    judgements = Judgements(PAPER_ORDER, np.zeros((6, 6)), "dissimilarities")
    from siamplex.similarity.rdm import of_circle

    result, text = describe_maps(judgements, of_circle(), [Map(PAPER_ORDER, places, True, 0.1)], "", None)
    assert result["maps"][0]["line"] == list(PAPER_ORDER) and "order" not in result["maps"][0]
    assert "on a line" in text and "(not the paper's)" not in text
