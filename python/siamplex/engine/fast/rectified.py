"""An InnerProduct after ReLU and dropout, computed over the active units alone.

A unit that ReLU or dropout sets to 0 for every image of a batch adds nothing to the product and passes no gradient
back, so it is left out.  In the paper's setting most of fc4's units are soon 0 for all images: on drawn faces a tenth
are active in a batch after 500 iterations.  A pair past the margin has no gradient, so its rows are left out of the
backward products.  The result is the same sum without its zero terms.
"""

from __future__ import annotations

from typing import Any

import torch

from siamplex.engine.fast.products import active, among_zeros, rows_with_gradient, times_transposed


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: torch.Tensor,  # (N, K)
        mask: torch.Tensor | None,  # (N, K)
        weight: torch.Tensor,  # (O, all)
        bias: torch.Tensor | None,  # (O,)
        units: torch.Tensor | None,  # (K,)
    ) -> torch.Tensor:
        x = z.clamp(min=0)
        if mask is not None:
            x.mul_(mask)
        some = active(x, len(weight))
        if some is not None:
            x = x.index_select(1, some)
            mask = mask.index_select(1, some) if mask is not None else None
            units = some if units is None else units.index_select(0, some)
        ctx.some, ctx.units, ctx.widths = some, units, (z.shape[1], weight.shape[1])
        if units is not None:
            weight = weight.index_select(1, units)
        ctx.save_for_backward(x, mask, weight)
        return times_transposed(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, mask, weight = ctx.saved_tensors
        gradient = grads[0]
        below = own = bias = None
        rows = rows_with_gradient(gradient, x.shape[1])
        if rows is not None:
            whole = len(x)
            x, gradient = x.index_select(0, rows), gradient.index_select(0, rows)
            mask = mask.index_select(0, rows) if mask is not None else None
        if ctx.needs_input_grad[0]:
            below = times_transposed(gradient, weight.t())
            below = torch.ops.aten.threshold_backward(below if mask is None else below.mul_(mask), x, 0)
            if rows is not None:
                below = below.new_zeros((whole, below.shape[1])).index_copy_(0, rows, below)
            below = among_zeros(below, ctx.some, ctx.widths[0])
        if ctx.needs_input_grad[2]:
            own = among_zeros(times_transposed(gradient.t(), x.t()), ctx.units, ctx.widths[1])
        if ctx.needs_input_grad[3]:
            bias = gradient.sum(0)
        return below, None, own, bias, None


def linear_rectified(
    z: torch.Tensor,
    mask: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    units: torch.Tensor | None = None,
) -> torch.Tensor:
    """y = (max(z, 0) mask) w^T + b (N, O) for z (N, K), mask (N, K) or None, weight (O, K), bias (O,) or None.

    With ``units`` (K,) z covers only these units, which select K of the weight's columns; all other units are below
    zero.  Differentiable except in the mask; float32 or, for tests, float64.
    """
    result: torch.Tensor = _Rectified.apply(z, mask, weight, bias, units)
    return result
