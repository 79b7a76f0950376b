"""Clip: min(max(x, min), max)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Clip")
class Clip(Layer):
    """Any shape; the gradient is 1 for min <= x <= max, else 0."""

    param_field = "clip_param"
    supported = frozenset({"min", "max"})
    per_sample = True
    backward_reads = frozenset({"bottom"})

    def configure(self) -> None:
        for bound in ("min", "max"):
            self.require(self.params.HasField(bound), f"{bound} is missing")

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [bottoms[0].clamp(float(self.params.min), float(self.params.max))]
