"""Exp: y = base^(shift + scale x)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Exp")
class Exp(Layer):
    """Any shape; base e unless one is given.  Its backward pass reads its top: dx = dy y scale ln(base)."""

    param_field = "exp_param"
    supported = frozenset({"base", "scale", "shift"})
    per_sample = True
    backward_reads = frozenset({"top"})

    def configure(self) -> None:
        base = self.params.base
        self.require(base > 0 or base == -1, f"base {base:g} is not positive", "base", 0)
        logarithm = 1.0 if base == -1 else math.log(base)
        self._inner = logarithm * self.params.scale
        self._outer = math.exp(logarithm * self.params.shift)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0] * self._inner
        return [_Exponential.apply(x, self._outer)]


class _Exponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, outer: float) -> torch.Tensor:
        y = x.exp() * outer
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.saved_tensors[0], None
