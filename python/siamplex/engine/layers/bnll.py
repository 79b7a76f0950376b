"""BNLL: y = log(1 + exp(x)), the binomial normal log likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


class _BNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0) + (-x.abs()).exp().log1p()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * torch.sigmoid(ctx.saved_tensors[0])


@register("BNLL")
class BNLL(Layer):
    """Any shape."""

    per_sample = True
    backward_reads = frozenset({"bottom"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [_BNLL.apply(bottoms[0])]
