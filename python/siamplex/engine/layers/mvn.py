"""MVN: subtract the mean of each channel or image and divide by its standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.four_axes import four_axes
from siamplex.engine.net.layer import Context, Layer, Shape, register


class _MeanVariance(torch.autograd.Function):
    """The layer with Caffe's gradient, which reads the top and treats eps as part of the deviation.

    In place Caffe writes over the top's gradient while it still reads it.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float, in_place: bool) -> torch.Tensor:  # (rows, values)
        centred = x - x.mean(dim=1, keepdim=True)
        deviation = centred.square().mean(dim=1, keepdim=True).sqrt() + eps
        y = centred / deviation
        ctx.save_for_backward(y, deviation)
        ctx.in_place = in_place
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        y, deviation = ctx.saved_tensors
        dy = grads[0]
        if ctx.in_place:
            share = y * (dy * y).sum(dim=1, keepdim=True)
            share = share + share.sum(dim=1, keepdim=True)
            return share * (-2 / y.shape[1]) / deviation, None, None
        slope = (dy * y).mean(dim=1, keepdim=True)
        return (dy - y * slope - dy.mean(dim=1, keepdim=True)) / deviation, None, None


@register("MVN")
class MVN(Layer):
    """(x - mean) / (deviation + eps) over each (H, W) of (N, C, H, W), ``across_channels`` over each (C, H, W).

    The top always has four axes: (N, C) becomes (N, C, 1, 1).  Without ``normalize_variance`` only the mean is
    subtracted.
    """

    param_field = "mvn_param"
    supported = frozenset({"normalize_variance", "across_channels", "eps"})
    per_sample = True

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"top"} if self.params.normalize_variance else ())

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._shape = four_axes(bottoms[0], self.require)
        return [self._shape]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0].reshape(self._shape)
        rows = x.shape[0] if self.params.across_channels else x.shape[0] * x.shape[1]
        flat = x.reshape(rows, -1)
        if self.params.normalize_variance:
            return [_MeanVariance.apply(flat, float(self.params.eps), self.spec.in_place).reshape(x.shape)]
        return [(flat - flat.mean(dim=1, keepdim=True)).reshape(x.shape)]
