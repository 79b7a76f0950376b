from __future__ import annotations

import numpy as np
import pytest

from siamplex.geometry.embedding import Embedding
from siamplex.similarity.actors import per_actor, summary
from siamplex.similarity.overlap import overlaps


def two_blobs(gap: float, count: int = 4000) -> Embedding:
    stream = np.random.default_rng(0)
    points = np.concatenate([stream.normal(size=(count, 2)), stream.normal(size=(count, 2)) + np.array([gap, 0])])
    return Embedding(
        points.astype(np.float32), [str(i) for i in range(2 * count)], [f"s{i % 9}" for i in range(2 * count)],
        ["SP"] * count + ["FE"] * count, ["train"] * 2 * count, {},
    )  # fmt: skip


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_overlap_of_normals_is_the_formula(gap):
    """Bhattacharyya coefficient of two unit normals at a distance: exp(-gap^2 / 8); d' is the gap."""
    (found,) = overlaps(two_blobs(gap), count=60)
    assert found.overlap == pytest.approx(np.exp(-(gap**2) / 8), abs=0.02)
    assert found.separation == pytest.approx(gap, abs=0.06)
    low, high = found.overlap_interval
    assert low - 0.01 <= found.overlap <= high + 0.01


def test_the_couple_that_runs_together_ranks_first(ring):
    embedding = ring(noise=0.15)
    emotions = np.array(embedding.emotions)
    embedding.points[emotions == "FE"] = embedding.points[emotions == "SP"] + 0.02
    found = overlaps(embedding, count=60)
    assert len(found) == 15
    assert set(found[0].emotions) == {"SP", "FE"} and found[0].rank == 1
    assert found[0].overlap > 0.9 > 0.2 > found[-1].overlap


def test_an_emotion_in_one_point_is_no_reason_to_fail(ring):
    embedding = ring(noise=0.0)
    found = overlaps(embedding, count=60)
    assert all(np.isfinite(o.overlap) for o in found)


def test_each_actor_against_the_others(ring):
    embedding = ring(noise=0.05, actors=6)
    emotions = np.array(embedding.emotions)
    odd = [i for i, s in enumerate(embedding.subjects) if s == "03"]
    turned = embedding.points.copy()
    for i in odd:  # one actor whose happiness looks like others' sadness, and the other way round
        swap = {"HA": "SA", "SA": "HA"}.get(emotions[i])
        if swap:
            turned[i] = embedding.points[[k for k in odd if emotions[k] == swap]].mean(axis=0)
    embedding.points[:] = turned
    found = {a.subject: a for a in per_actor(embedding)}
    assert len(found) == 6
    assert found["03"].spearman < 0.5 < min(a.spearman for s, a in found.items() if s != "03")
    assert found["00"].agrees_either and not found["03"].agrees_either
    total = summary(list(found.values()))
    assert total["actors"] == 6 and total["in_the_papers_order"] == 5
    assert total["lower_quartile"] <= total["median"] <= total["upper_quartile"]


def test_an_actor_without_an_emotion_is_left_out(ring):
    embedding = ring(actors=3)
    keep = [i for i in range(len(embedding)) if not (embedding.subjects[i] == "01" and embedding.emotions[i] == "DI")]
    part = Embedding(
        embedding.points[keep], [embedding.images[i] for i in keep], [embedding.subjects[i] for i in keep],
        [embedding.emotions[i] for i in keep], [embedding.splits[i] for i in keep], {},
    )  # fmt: skip
    assert [a.subject for a in per_actor(part)] == ["00", "02"]
    assert summary([]) == {"actors": 0}


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-12, 1e12])
@pytest.mark.parametrize("flat", [0.0, 1.0])
def test_collapsed_embeddings(ring, scale, flat):
    """A net whose units are dead puts all images on one point; another all on a line."""
    embedding = ring(noise=0.3)
    embedding.points[:] = embedding.points * (scale, scale * flat)
    couples = overlaps(embedding, count=60)
    assert len(couples) == 15 and all(0 <= c.overlap <= 1 + 1e-9 and np.isfinite(c.separation) for c in couples)
    if not scale:
        assert {c.overlap for c in couples} == {1.0} and {c.separation for c in couples} == {0.0}
        assert {c.overlap_interval for c in couples} == {(1.0, 1.0)}
