"""InnerProducts by the units that are active, against the plain operations."""

from __future__ import annotations

import pytest
import torch

from siamplex.engine.fast import products
from siamplex.engine.fast.products import active, rows_with_gradient
from siamplex.engine.fast.rectified import linear_rectified


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(products, "_LOOK", 0)


def operands(dead, dtype=torch.float64):
    """z of some units below zero for all rows, a mask, a weight and a bias."""
    stream = torch.Generator().manual_seed(4)
    z = torch.randn(6, 10, generator=stream, dtype=dtype)
    z[:, dead] = -z[:, dead].abs()
    mask = 2.0 * torch.randint(0, 2, (6, 10), generator=stream).to(dtype)
    weight, bias = (torch.randn(*shape, generator=stream, dtype=dtype) for shape in ((4, 10), (4,)))
    return z, mask, weight, bias


def results(function, *tensors):
    """Its value and gradients."""
    given = [t.clone().requires_grad_() if t is not None else None for t in tensors]
    y = function(*given)
    y.square().sum().backward()
    return [y.detach(), *(t.grad for t in given if t is not None)]


@pytest.mark.parametrize("dead", [[], [0, 3], [0, 1, 2, 4, 5, 7, 9], list(range(10))])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_is_relu_dropout_and_product(dead, masked, biased):
    z, mask, weight, bias = operands(dead)
    mask, bias = mask if masked else None, bias if biased else None

    def plain(z, weight, bias):
        x = z.relu() if mask is None else z.relu() * mask
        return torch.nn.functional.linear(x, weight, bias)

    ours = results(lambda z, w, b: linear_rectified(z, mask, w, b), z, weight, bias)
    for a, b in zip(ours, results(plain, z, weight, bias), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dead", [[], [1, 2, 5, 7, 8]])
def test_z_of_some_units_alone(dead):
    z, mask, weight, bias = operands([0, 6, 9])
    z[:, dead] = -1
    units = torch.tensor([1, 2, 3, 4, 5, 7, 8])
    whole = results(lambda z, w, b: linear_rectified(z, mask, w, b), z, weight, bias)
    some = results(
        lambda z, w, b: linear_rectified(z, mask[:, units], w, b, units), z[:, units].contiguous(), weight, bias
    )
    whole[1] = whole[1][:, units]
    for a, b in zip(some, whole, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dead", [[], [1, 2, 5, 7, 8, 9]])
def test_rows_without_gradient_are_left_out(dead):
    stream = torch.Generator().manual_seed(4)
    z, weight, bias = (torch.randn(*shape, generator=stream).double() for shape in ((48, 10), (4, 10), (4,)))
    z[:, dead] = -1
    mask = 2.0 * torch.randint(0, 2, z.shape, generator=stream).double()
    reach = (torch.arange(48) % 3 == 0).double()[:, None]  # 16 rows

    def loss(form):
        return lambda z, w, b: form(z, w, b) * reach

    ours = results(loss(lambda z, w, b: linear_rectified(z, mask, w, b)), z, weight, bias)
    plain = results(loss(lambda z, w, b: torch.nn.functional.linear(z.relu() * mask, w, b)), z, weight, bias)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)
    assert len(rows_with_gradient(reach.expand(48, 4), 10)) == 16
    assert rows_with_gradient(torch.ones(48, 4), 10) is None
    assert len(rows_with_gradient(torch.zeros(48, 4), 10)) == 0


def test_where_nothing_is_asked_for():
    z, mask, weight, bias = operands([0])
    assert not linear_rectified(z, mask, weight, bias).requires_grad
    z.requires_grad_()
    linear_rectified(z, mask, weight, bias).sum().backward()
    assert z.grad is not None and weight.grad is None


def test_columns_active():
    x = torch.zeros(3, 8)
    x[1, 2], x[0, 5], x[2, 7] = 1, -2, float("nan")
    found = active(x, 4)
    assert found is not None and found.tolist() == [2, 5, 7]
    x[0, :4] = 1
    assert active(x, 4) is None  # too many for it to be worth it
    assert active(torch.zeros(3, 8), 4).tolist() == []  # type: ignore[union-attr]


def test_small_products_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(products, "_LOOK", 1 << 20)
    assert active(torch.zeros(3, 8), 4) is None
