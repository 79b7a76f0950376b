"""ELU: y = x where x > 0, alpha (exp(x) - 1) elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


class _ELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, alpha: float) -> torch.Tensor:
        y = x.clamp(min=0) + alpha * (x.clamp(max=0).exp() - 1)
        ctx.save_for_backward(x, y)
        ctx.alpha = alpha
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, y = ctx.saved_tensors
        return grads[0] * torch.where(x > 0, 1.0, ctx.alpha + y), None


@register("ELU")
class ELU(Layer):
    """Exponential linear unit, any shape; dx = dy (alpha + y) where x <= 0."""

    param_field = "elu_param"
    supported = frozenset({"alpha"})
    per_sample = True
    backward_reads = frozenset({"bottom", "top"})

    @property
    def own_bottom(self) -> str:  # type: ignore[override]
        return "signs" if self.params.alpha >= 0 else "lost"

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [_ELU.apply(bottoms[0], float(self.params.alpha))]
