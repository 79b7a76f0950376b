"""Sigmoid: y = 1 / (1 + exp(-x))."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Sigmoid")
class Sigmoid(Layer):
    """Any shape; its backward pass reads its top: dx = dy y (1 - y)."""

    param_field = "sigmoid_param"
    supported = frozenset({"engine"})
    per_sample = True
    backward_reads = frozenset({"top"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [torch.sigmoid(bottoms[0])]
