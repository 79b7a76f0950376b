"""Log: y = log_base(shift + scale x)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Log")
class Log(Layer):
    """Any shape; base e unless one is given."""

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
        return [_Logarithm.apply(bottoms[0], float(self.params.scale), float(self.params.shift), self._factor)]


class _Logarithm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float, shift: float, factor: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.settings = scale, shift, factor
        return (x * scale + shift).log() * factor

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        scale, shift, factor = ctx.settings
        slope = grads[0] * (scale * factor) / (x * scale + shift) if scale else torch.zeros_like(x)
        return slope, None, None, None
