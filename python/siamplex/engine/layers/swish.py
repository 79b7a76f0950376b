"""Swish: y = x sigmoid(beta x)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.layer import Context, Layer, Shape, register


@register("Swish")
class Swish(Layer):
    """Any shape."""

    param_field = "swish_param"
    supported = frozenset({"beta"})
    per_sample = True

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0]
        return [x * torch.sigmoid(x * float(self.params.beta))]
