"""Matrix products by the faster of torch's two CPU libraries.

On some processors torch's default library (MKL) reaches only half the rate of oneDNN, which torch itself uses
for convolutions.  Large float32 products on the CPU use oneDNN, all others torch's default.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from siamplex.engine.net.kernels import Factors

_LARGE = 1 << 23  # multiply-adds from which oneDNN pays, with its longer call and a primitive set up for each shape
_LOOK = 1 << 20  # multiply-adds from which a search for zero columns or rows pays
_STEP = 16  # row counts are multiples of it: oneDNN sets up a primitive for each new shape
_MANY = 0.9  # largest share of nonzero rows at which dropping the zero rows pays
_FEW = 0.5  # largest share of nonzero columns at which selecting them pays


def times_transposed(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x w^T + bias (n, m) for x (n, k), w (m, k) and bias (m,), float32.

    x and w may be transposed views.  No gradient.
    """
    if x.device.type == "cpu" and x.shape[0] * w.numel() >= _LARGE and _onednn_multiplies():
        result: torch.Tensor = _onednn(x, w, bias)
        return result
    return x @ w.t() if bias is None else torch.addmm(bias, x, w.t())


def by_columns(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """a^T b (n, m) for a (k, n) and b (k, m) with k far below n and m, float32; in ``out`` or in a new tensor.

    Such a product is bound by memory: without AVX-512, writing into ``out`` gains more than oneDNN does.
    """
    if a.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512":
        return times_transposed(a.t(), b.t())
    return torch.mm(a.t(), b, out=out)


def _onednn(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    return torch.ops.mkldnn._linear_pointwise(x, w, bias, "none", [], "")


def active(x: torch.Tensor, others: int) -> torch.Tensor | None:
    """Columns (K,) of x (N, M) that are not all zero; None where the product should take all columns.

    ``others`` is the number of rows of the other factor.
    """
    if x.device.type != "cpu" or x.numel() * others < _LOOK:
        return None
    found = np.flatnonzero(x.detach().numpy().any(axis=0))
    return torch.from_numpy(found) if len(found) <= _FEW * x.shape[1] else None


def rows_with_gradient(gradient: torch.Tensor, others: int) -> torch.Tensor | None:
    """Rows (K,) of a gradient (N, M) that are not all zero, padded with zero rows to a multiple of 16; None for all.

    ``others`` is the number of columns of the other factor.
    """
    if gradient.device.type != "cpu" or gradient.numel() * others < _LOOK:
        return None
    some = np.asarray(gradient.numpy().any(axis=1))
    size = -(-int(some.sum()) // _STEP) * _STEP
    if size > _MANY * len(gradient):
        return None
    return torch.from_numpy(np.argsort(~some, kind="stable")[:size])


def among_zeros(columns: torch.Tensor, places: torch.Tensor | None, width: int) -> torch.Tensor:
    """(..., width), zero except ``columns`` (..., K) at ``places`` (K,); ``columns`` itself where places is None."""
    if places is None:
        return columns
    return columns.new_zeros((*columns.shape[:-1], width)).index_copy_(-1, places, columns)


@cache
def _onednn_multiplies() -> bool:
    """Whether this build of torch has the oneDNN operator with the arguments used here."""
    x, w = torch.arange(6.0).reshape(2, 3), torch.arange(12.0).reshape(3, 4)
    try:
        return bool(torch.equal(_onednn(x, w.t()), x @ w))
    except (RuntimeError, AttributeError, TypeError):
        return False


class _Linear(torch.autograd.Function):
    """y = x w^T + b (N, O), all three products by ``times_transposed``."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, factors: Factors | None
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.factors = factors
        return times_transposed(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight = ctx.saved_tensors
        gradient = grads[0]
        below = times_transposed(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        own = None
        if ctx.needs_input_grad[1]:
            if ctx.factors is not None:
                ctx.factors.append((gradient, x))
            else:
                own = times_transposed(gradient.t(), x.t())
        bias = gradient.sum(0) if ctx.needs_input_grad[2] else None
        return below, own, bias, None


def linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, factors: Factors | None = None
) -> torch.Tensor:
    """y = x w^T + b (N, O) for x (N, K), weight (O, K) and bias (O,) or None, differentiable.

    With ``factors`` the weight's gradient is not computed: (dL/dy (N, O), x (N, K)), whose product
    (dL/dy)^T x it is, is added to the list instead.
    """
    result: torch.Tensor = _Linear.apply(x, weight, bias, factors)
    return result
