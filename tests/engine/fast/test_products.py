from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.fast import products
from siamplex.engine.fast.products import linear, times_transposed


@pytest.mark.parametrize("large", [0, 1 << 40])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 5), (64, 33, 129)])
def test_is_the_product_by_either_library(monkeypatch, large, shape):
    monkeypatch.setattr(products, "_LARGE", large)
    n, k, m = shape
    stream = np.random.default_rng(0)
    x, w = stream.normal(size=(n, k)).astype(np.float32), stream.normal(size=(m, k)).astype(np.float32)
    expected = x @ w.T
    for a in (torch.from_numpy(x), torch.from_numpy(x.T.copy()).t()):
        for b in (torch.from_numpy(w), torch.from_numpy(w.T.copy()).t()):
            np.testing.assert_allclose(times_transposed(a, b).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_build_without_the_operator_takes_the_usual_way(monkeypatch):
    def missing(x, w):
        raise AttributeError("no such operator")

    monkeypatch.setattr(products, "_LARGE", 0)
    monkeypatch.setattr(products, "_onednn", missing)
    products._onednn_multiplies.cache_clear()
    try:
        x, w = torch.randn(4, 3), torch.randn(5, 3)
        assert torch.equal(times_transposed(x, w), x @ w.t())
    finally:
        products._onednn_multiplies.cache_clear()


def test_gradients_and_their_factors():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear, (x, w))
    factors = []
    linear(x, w, None, factors).square().sum().backward()
    below = x.grad.clone()
    assert w.grad is None
    ((gradient, inputs),) = factors
    x.grad = None
    linear(x, w).square().sum().backward()
    torch.testing.assert_close(gradient.t() @ inputs, w.grad)
    torch.testing.assert_close(below, x.grad)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_by_columns(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    stream = torch.Generator().manual_seed(2)
    a, b = torch.randn(16, 30, generator=stream), torch.randn(16, 20, generator=stream)
    found = products.by_columns(a, b, torch.empty(30, 20))
    torch.testing.assert_close(found, (a.double().t() @ b.double()).float())
