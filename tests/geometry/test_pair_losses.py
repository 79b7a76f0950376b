"""Losses against the label-blind loss, and the classes that pairs tell of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.layer import Context
from siamplex.geometry.pair_losses import (
    all_pair_losses,
    classes_of,
    contrastive,
    label_blind,
    pair_losses,
    ratio_of_classes,
)
from tests.engine.conftest import make_layer


@pytest.fixture
def points():
    return np.random.default_rng(2).normal(0, 0.6, (12, 2))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("margin", [1.0, 0.4])
def test_the_loss_is_the_layers(points, margin, legacy):
    first, second = np.triu_indices(12, 1)
    same = np.random.default_rng(3).random(len(first)) < 0.3
    layer = make_layer(
        'type: "ContrastiveLoss" bottom: "a" bottom: "b" bottom: "y" top: "l" '
        f"contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}"
    )
    bottoms = [torch.tensor(points[first]).float(), torch.tensor(points[second]).float(), torch.tensor(same).float()]
    (wanted,) = layer.forward(bottoms, [], Context(train=False))
    found = pair_losses(points, first, second, same, margin, legacy)
    assert found.loss == pytest.approx(float(wanted), rel=1e-5)
    squared = ((points[first] - points[second]) ** 2).sum(axis=1)
    assert contrastive(squared, same, margin, legacy) == found.loss


@pytest.mark.parametrize("legacy", [False, True])
def test_label_blind_is_the_mean_over_shufflings(points, legacy):
    """Exact, where shuffling the images can only come near it."""
    first, second = np.triu_indices(12, 1)
    keep = np.random.default_rng(5).permutation(len(first))[:40]  # not all pairs
    first, second = first[keep], second[keep]
    same = np.arange(40) < 9
    stream = np.random.default_rng(6)
    shuffled = []
    for _ in range(4000):
        order = stream.permutation(12)
        squared = ((points[order[first]] - points[order[second]]) ** 2).sum(axis=1)
        shuffled.append(contrastive(squared, same, 1.0, legacy))
    found = pair_losses(points, first, second, same, 1.0, legacy)
    assert found.label_blind == pytest.approx(np.mean(shuffled), abs=4 * np.std(shuffled) / np.sqrt(4000))
    assert found.label_blind == label_blind(points, 9 / 40, 1.0, legacy)


def test_a_net_that_knows_nothing_is_no_better_than_label_blind():
    labels = np.repeat(np.arange(6), 40)
    stream = np.random.default_rng(8)
    blank = stream.normal(0, 0.3, (240, 2))
    found = all_pair_losses(blank, labels)
    assert found.loss == pytest.approx(found.label_blind, rel=0.03)
    angle = labels * np.pi / 3
    known = np.c_[np.cos(angle), np.sin(angle)] + 0.1 * blank
    found = all_pair_losses(known, labels)
    assert found.loss < 0.1 * found.label_blind
    assert all_pair_losses(blank[:1], labels[:1]) is None


def test_collapsed_points_cost_half_the_share_of_different_pairs():
    labels = np.array([0, 0, 1, 1])
    found = all_pair_losses(np.zeros((4, 2)), labels)
    assert found.loss == found.label_blind == pytest.approx((1 - 2 / 6) / 2)


def test_classes_are_what_same_pairs_join():
    labels = np.array([2, 0, 1, 0, 2, 1, 1, 3])
    first, second = np.triu_indices(8, 1)
    same = labels[first] == labels[second]
    found = classes_of(8, first, second, same)
    assert len(set(zip(found, labels, strict=True))) == len(set(labels)) == len(set(found))
    angles = labels * 2.0
    points = np.c_[np.cos(angles), np.sin(angles)]
    # the class of one image does not count: three means are left, of which the ratio is known
    means = np.array([points[labels == k][0] for k in range(3)])
    values = np.linalg.svd(means - means.mean(axis=0), compute_uv=False)
    assert ratio_of_classes(points, found) == pytest.approx(values[1] / values[0])
    assert ratio_of_classes(points[:4], found[:4]) is None
    assert ratio_of_classes(points[:, :1], found) is None
