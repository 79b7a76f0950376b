from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from siamplex.errors import PrototxtError
from tests.engine.conftest import make_layer, run_layer


def direct(x, size, alpha, beta, k):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - size // 2) : c + size // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha / size * (near**2).sum(axis=1)) ** beta
    return y


def text(size, alpha, beta, k):
    return f"type: 'LRN' bottom: 'x' top: 'y' lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta} k: {k} }}"


@given(
    channels=st.integers(1, 9),
    size=st.sampled_from([1, 3, 5, 7]),
    alpha=st.sampled_from([1e-4, 0.1, 1.0]),
    beta=st.sampled_from([0.75, 0.5, 1.0]),
    k=st.sampled_from([1.0, 2.0]),
)
def test_equals_the_formula(channels, size, alpha, beta, k):
    x = np.random.default_rng(channels).normal(0, 3, size=(2, channels, 3, 4)).astype(np.float32)
    (y,) = run_layer(text(size, alpha, beta, k), [x])
    np.testing.assert_allclose(y.numpy(), direct(x.astype(np.float64), size, alpha, beta, k), rtol=1e-4)


@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_gradient_equals_differences(beta):
    layer = make_layer(text(5, 0.3, beta, 1.0))
    x = torch.randn(2, 7, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: layer.forward([t], [], None)[0], (x,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [("local_size: 4", "is not odd"), ("local_size: 2 norm_region: WITHIN_CHANNEL", "is not odd")],
)
def test_refuses(settings, message):
    with pytest.raises(PrototxtError, match=message):
        make_layer(f"type: 'LRN' bottom: 'x' top: 'y' lrn_param {{ {settings} }}")
