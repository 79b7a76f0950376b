from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from siamplex.geometry.orders import PAPER_ORDER
from siamplex.similarity.patterns import gather, of_embedding
from siamplex.similarity.rdm import Rdm, of_action_units, of_circle

rng = np.random.default_rng(3)
VALUES = rng.normal(size=(60, 40)).astype(np.float32)
SUBJECTS = [f"s{i % 5}" for i in range(60)]
EMOTIONS = [PAPER_ORDER[(i // 5) % 6] for i in range(60)]


def emotion_means(values, subjects, emotions):
    """Means over subjects of each subject's mean, by hand."""
    rows = []
    for e in PAPER_ORDER:
        own = [
            values[[i for i in range(len(values)) if subjects[i] == s and emotions[i] == e]].mean(axis=0)
            for s in sorted(set(subjects))
            if any(subjects[i] == s and emotions[i] == e for i in range(len(values)))
        ]
        rows.append(np.mean(own, axis=0))
    return np.array(rows, np.float64)


@pytest.mark.parametrize("method", ["euclidean", "correlation"])
def test_distances_from_products_are_the_distances(method):
    found = gather("x", method, VALUES, SUBJECTS, EMOTIONS).rdm()
    np.testing.assert_allclose(found.upper(), pdist(emotion_means(VALUES, SUBJECTS, EMOTIONS), method), atol=1e-6)


def test_rsatoolbox_agrees():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rsatoolbox = pytest.importorskip("rsatoolbox")
        data = rsatoolbox.data.Dataset(emotion_means(VALUES, SUBJECTS, EMOTIONS))
        euclidean = rsatoolbox.rdm.calc_rdm(data, method="euclidean").dissimilarities[0]
        correlation = rsatoolbox.rdm.calc_rdm(data, method="correlation").dissimilarities[0]
    # its euclidean is the mean square over features
    ours = gather("x", "euclidean", VALUES, SUBJECTS, EMOTIONS).rdm().upper()
    np.testing.assert_allclose(ours**2 / VALUES.shape[1], euclidean, rtol=1e-5)
    ours = gather("x", "correlation", VALUES, SUBJECTS, EMOTIONS).rdm().upper()
    np.testing.assert_allclose(ours, correlation, atol=1e-6)


def test_resampled_subjects_count_as_often_as_drawn():
    patterns = gather("x", "euclidean", VALUES, SUBJECTS, EMOTIONS)
    twice = [i for i, s in enumerate(SUBJECTS) if s in ("s1", "s2")]
    doubled = [*twice, *(i for i in twice if SUBJECTS[i] == "s1")]
    names = [SUBJECTS[i] + ("'" if k >= len(twice) else "") for k, i in enumerate(doubled)]
    expected = gather("x", "euclidean", VALUES[doubled], names, [EMOTIONS[i] for i in doubled]).rdm()
    np.testing.assert_allclose(patterns.rdm({"s1": 2, "s2": 1}).upper(), expected.upper(), atol=1e-9)


def test_no_dissimilarities_without_an_emotion():
    patterns = gather("x", "euclidean", VALUES, SUBJECTS, EMOTIONS)
    assert patterns.rdm({}) is None


def test_an_actor_with_many_images_counts_once(ring):
    one = ring(actors=1, noise=0)
    many = ring(actors=3, noise=0.3, each=7, seed=5)
    both_points = np.concatenate([one.points, many.points])
    subjects = ["solo"] * len(one) + many.subjects
    found = gather("fc6", "euclidean", both_points, subjects, one.emotions + many.emotions)
    expected = emotion_means(both_points, subjects, one.emotions + many.emotions)
    np.testing.assert_allclose(found.rdm().upper(), pdist(expected), atol=1e-6)


def test_the_circle_and_the_action_units():
    circle = of_circle()
    at = dict(zip(circle.pairs(), circle.upper(), strict=True))
    assert at["HA", "SP"] == pytest.approx(1) and at["HA", "SA"] == pytest.approx(2)
    units = of_action_units()
    at = {frozenset(c): v for c, v in zip(units.pairs(), units.upper(), strict=True)}
    # brows raised and eyes wide in both
    assert at[frozenset(("FE", "SP"))] < min(at[frozenset(("HA", "SP"))], at[frozenset(("AN", "SP"))])


def test_upper_follows_the_order_asked_for():
    values = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]], float)
    assert Rdm(("a", "b", "c"), values).upper(("c", "a", "b")).tolist() == [2, 3, 1]


def test_the_embedding_is_measured_straight(ring):
    assert of_embedding(ring()).method == "euclidean"
