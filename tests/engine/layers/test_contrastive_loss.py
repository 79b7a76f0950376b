from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.errors import PrototxtError
from tests.engine.conftest import make_layer, run_layer

TEXT = "type: 'ContrastiveLoss' bottom: 'a' bottom: 'b' bottom: 'y' top: 'loss' "


def pairs(count=6, seed=0):
    stream = np.random.default_rng(seed)
    a = stream.normal(size=(count, 2)).astype(np.float32)
    b = a + stream.normal(0, 0.6, size=(count, 2)).astype(np.float32)
    return a, b, np.array([0, 1] * (count // 2), np.float32)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_loss_is_hadsells(margin, legacy):
    a, b, label = pairs()
    settings = f"contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}"
    (loss,) = run_layer(TEXT + settings, [a, b, label])
    d2 = ((a - b) ** 2).sum(axis=1)
    push = np.maximum(margin - d2, 0) if legacy else np.maximum(margin - np.sqrt(d2), 0) ** 2
    assert float(loss) == pytest.approx(np.where(label == 1, d2, push).sum() / (2 * len(a)), rel=1e-6)


@pytest.mark.parametrize("legacy", [False, True])
def test_gradient_is_caffes(legacy):
    """Label 1 pulls by the difference; label 0 pushes, divided by d + 1e-4 unless legacy."""
    a, b, label = pairs()
    first = torch.from_numpy(a).requires_grad_()
    second = torch.from_numpy(b).requires_grad_()
    settings = f"contrastive_loss_param {{ margin: 1.5 legacy_version: {str(legacy).lower()} }}"
    run_layer(TEXT + settings, [first, second, label])[0].backward()
    expected = np.zeros_like(a)
    for i in range(len(a)):
        diff = a[i] - b[i]
        d = np.sqrt((diff**2).sum())
        if label[i] == 1:
            expected[i] = diff / len(a)
        elif legacy and 1.5 - d**2 > 0:
            expected[i] = -diff / len(a)
        elif not legacy and 1.5 - d > 0:
            expected[i] = -(1.5 - d) / (d + 1e-4) * diff / len(a)
    np.testing.assert_allclose(first.grad.numpy(), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(second.grad.numpy(), -expected, rtol=1e-5, atol=1e-7)


def test_twins_at_one_point_have_no_gradient_and_no_nan():
    a = torch.ones(2, 2, requires_grad=True)
    run_layer(TEXT, [a, torch.ones(2, 2), np.array([0, 1], np.float32)])[0].backward()
    assert torch.equal(a.grad, torch.zeros(2, 2))


def test_near_zero_differs_from_plain_autograd():
    """At d = 1e-4 Caffe's added 1e-4 halves the push."""
    a = torch.tensor([[1e-4, 0.0]], requires_grad=True)
    run_layer(TEXT, [a, torch.zeros(1, 2), np.zeros(1, np.float32)])[0].backward()
    assert float(a.grad[0, 0]) == pytest.approx(-0.5, rel=1e-3)


def test_has_a_loss_without_a_named_top():
    assert make_layer("type: 'ContrastiveLoss' bottom: 'a' bottom: 'b' bottom: 'y'").is_loss


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4, 2), (4, 3), (4,)], "embeddings of shapes"),
        ([(4, 2), (4, 2), (3,)], r"\(3,\) labels for 4 pairs"),
        ([(4, 2, 3, 3), (4, 2, 3, 3), (4,)], "expected"),
    ],
)
def test_refuses_shapes(shapes, message):
    with pytest.raises(PrototxtError, match=message):
        make_layer(TEXT).setup(shapes)
