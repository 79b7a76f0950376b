"""Swish: y = x sigmoid(beta x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, beta: float) -> torch.Tensor:
        s = torch.sigmoid(x * beta)
        y = x * s
        ctx.save_for_backward(s, y)
        ctx.beta = beta
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        s, y = ctx.saved_tensors
        return grads[0] * (ctx.beta * y + s * (1 - ctx.beta * y)), None


@register("Swish")
class Swish(Layer):
    """Any shape."""

    param_field = "swish_param"
    supported = frozenset({"beta"})
    per_sample = True
    backward_reads = frozenset({"top"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [_Swish.apply(bottoms[0], float(self.params.beta))]
