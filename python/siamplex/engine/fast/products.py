"""Products of matrices by the quicker of torch's two libraries.

On some processors torch's usual library (MKL) multiplies at half the rate of oneDNN, which torch
itself uses for convolutions.  Large float32 products on the CPU go to oneDNN, all others the usual way.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from siamplex.engine.net.kernels import Factors

_LARGE = 1 << 23  # multiply-adds from which oneDNN's longer way in is worth it, and making one anew for each shape
_LOOK = 1 << 20  # multiply-adds from which a look for columns of zeros is worth it
_STEP = 16  # rows of a product: every shape anew costs oneDNN a while
_MANY = 0.9  # of all rows, up to which leaving the others out is worth it
_FEW = 0.5  # of all columns, up to which picking them out is


def times_transposed(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x w^T + bias (n, m) for x (n, k), w (m, k) and bias (m,), float32.

    x and w may be transposed views.  No gradient.
    """
    if x.device.type == "cpu" and x.shape[0] * w.numel() >= _LARGE and _onednn_multiplies():
        result: torch.Tensor = _onednn(x, w, bias)
        return result
    return x @ w.t() if bias is None else torch.addmm(bias, x, w.t())


def by_columns(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """a^T b (n, m) for a (k, n) and b (k, m) with k far below n and m, float32; in ``out`` or elsewhere.

    Few multiplications for each value written: where oneDNN has no wider instructions than the usual library, a
    result in its place is worth more.
    """
    if a.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512":
        return times_transposed(a.t(), b.t())
    return torch.mm(a.t(), b, out=out)


def _onednn(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    return torch.ops.mkldnn._linear_pointwise(x, w, bias, "none", [], "")


def active(x: torch.Tensor, others: int) -> torch.Tensor | None:
    """Columns (K,) of x (N, M) with anything but zeros; None where a product may as well take all of them.

    ``others`` is the number of rows of what x is to be multiplied with.
    """
    if x.device.type != "cpu" or x.numel() * others < _LOOK:
        return None
    found = np.flatnonzero(x.detach().numpy().any(axis=0))
    return torch.from_numpy(found) if len(found) <= _FEW * x.shape[1] else None


def rows_with_gradient(gradient: torch.Tensor, others: int) -> torch.Tensor | None:
    """Rows (K,) of a gradient (N, M) with anything but zeros, others added up to a multiple of 16; None for all.

    ``others`` is the number of columns of what the gradient is to be multiplied with.
    """
    if gradient.device.type != "cpu" or gradient.numel() * others < _LOOK:
        return None
    some = np.asarray(gradient.numpy().any(axis=1))
    size = -(-int(some.sum()) // _STEP) * _STEP
    if size > _MANY * len(gradient):
        return None
    return torch.from_numpy(np.argsort(~some, kind="stable")[:size])


def among_zeros(columns: torch.Tensor, places: torch.Tensor | None, width: int) -> torch.Tensor:
    """(..., width) with ``columns`` (..., K) at ``places`` (K,), else 0; the columns themselves where that is None."""
    if places is None:
        return columns
    return columns.new_zeros((*columns.shape[:-1], width)).index_copy_(-1, places, columns)


@cache
def _onednn_multiplies() -> bool:
    """Whether this build of torch has the operator, with the arguments known here."""
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
