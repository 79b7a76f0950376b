"""Log: y = log_base(shift + scale x)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Log")
class Log(Layer):
    """Any shape; base e unless one is given.

    In place the gradient is, as in Caffe, the square of the slope, whatever comes from behind.
    """

    param_field = "log_param"
    supported = frozenset({"base", "scale", "shift"})
    per_sample = True
    backward_reads = frozenset({"bottom"})

    def configure(self) -> None:
        base = self.params.base
        self.require(base > 0 or base == -1, f"base {base:g} is not positive", "base", 0)
        self.require(base != 1, "base 1 has no logarithm", "base", 0)
        self._factor = 1.0 if base == -1 else 1 / math.log(base)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        p = self.params
        return [_Logarithm.apply(bottoms[0], float(p.scale), float(p.shift), self._factor, self.spec.in_place)]


class _Logarithm(torch.autograd.Function):
    """In place Caffe writes the slope over the top's gradient before it multiplies by that."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float, shift: float, factor: float, in_place: bool) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.in_place = in_place
        ctx.settings = scale, shift, factor
        return (x * scale + shift).log() * factor

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        scale, shift, factor = ctx.settings
        slope = (scale * factor) / (x * scale + shift) if scale else torch.zeros_like(x)
        return (slope if ctx.in_place else grads[0]) * slope, None, None, None, None
