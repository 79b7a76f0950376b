from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from siamplex.similarity.circle import circle, fit_maps
from siamplex.similarity.compare import agreement, agreement_with, interval, kendall, resamples, spearman
from siamplex.similarity.patterns import of_embedding
from siamplex.similarity.rdm import Rdm, of_circle

rng = np.random.default_rng(1)


def random_rdm(seed, names="abcdef", ties=False):
    values = np.random.default_rng(seed).integers(1, 5 if ties else 10**6, (len(names),) * 2).astype(float)
    values = np.triu(values, 1)
    return Rdm(tuple(names), values + values.T)


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlations_are_scipys(ties):
    a, b = random_rdm(1, ties=ties).upper(), random_rdm(2, ties=ties).upper()
    rows = np.stack([a, b, a[::-1]])
    for row, rho, tau in zip(rows, spearman(rows, b), kendall(rows, b), strict=True):
        assert rho == pytest.approx(stats.spearmanr(row, b).statistic)
        assert tau == pytest.approx(stats.kendalltau(row, b).statistic)


def test_nothing_correlates_with_a_constant():
    assert spearman(np.ones((1, 5)), np.arange(5.0))[0] == kendall(np.ones((1, 5)), np.arange(5.0))[0] == 0


def test_the_permutation_test_tries_every_relabelling():
    one = random_rdm(3)
    assert agreement(one, one).spearman_p == pytest.approx(1 / 720)
    circle_ = of_circle()
    # turning and mirroring a circle changes nothing: 12 of the 720
    assert agreement(circle_, circle_).kendall_p == pytest.approx(12 / 720)


def test_the_permutation_test_is_fair():
    """Of unrelated matrices, about one in ten is below 0.1."""
    p = [agreement(random_rdm(100 + i), random_rdm(900 + i)).spearman_p for i in range(200)]
    assert 8 <= sum(x <= 0.1 for x in p) <= 34  # within three standard deviations of 20


def test_more_items_are_relabelled_at_random_and_always_alike():
    names = "abcdefghij"
    one, other = random_rdm(1, names), random_rdm(2, names)
    assert agreement(one, other) == agreement(one, other)
    assert agreement(one, one).spearman_p == pytest.approx(1 / 5000)


def test_intervals_cover_and_shrink_with_subjects(ring):
    reference = of_circle()
    widths = []
    for actors in (5, 40):
        patterns = of_embedding(ring(noise=0.6, actors=actors, seed=2))
        drawn = resamples(patterns, 0, 300)
        found = agreement_with(patterns, reference, drawn)
        low, high = found.spearman_interval
        assert low <= found.spearman <= high + 0.1
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_resampling_is_the_same_for_a_seed_and_differs_between(ring):
    patterns = of_embedding(ring(noise=0.5))
    a, b, c = (resamples(patterns, seed, 20) for seed in (1, 1, 2))
    assert all(np.array_equal(x.values, y.values) for x, y in zip(a, b, strict=True))
    assert any(not np.array_equal(x.values, y.values) for x, y in zip(a, c, strict=True))


def test_few_values_have_no_interval():
    assert interval([1.0] * 49) is None
    assert interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))


def test_a_circle_in_the_papers_order(ring):
    embedding = ring(noise=0.2, actors=12)
    found = circle(embedding, resamples(of_embedding(embedding), 0, 100), count=200)
    assert found.agrees and found.agrees_either and found.chance_either == "1/30"
    assert found.share > 0.9 and found.orders_seen[0][0] == found.order
    assert found.agreement.spearman > 0.8 and found.agreement.spearman_p <= 13 / 720


def test_a_circle_in_another_order(ring):
    embedding = ring(order=("HA", "SA", "SP", "AN", "FE", "DI"), noise=0.05)
    found = circle(embedding, [], count=100)
    assert not found.agrees_either and found.share_either == 0 and found.agreement.spearman < 0.5


def test_surprise_and_fear_may_swap(ring):
    found = circle(ring(order=("HA", "FE", "SP", "SA", "AN", "DI")), [], count=50)
    assert not found.agrees and found.agrees_either


def test_maps_fit_whatever_their_turn_mirror_and_scale():
    one = rng.normal(size=(6, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    fit = fit_maps(one, 7 * (one * [1, -1]) @ turn + 3)
    assert fit.disparity < 1e-12 and fit.p == pytest.approx(1 / 720)
    assert fit_maps(one, rng.normal(size=(6, 2))).disparity > 0.1
