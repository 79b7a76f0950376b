"""Softmax along ``axis``."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Softmax")
class Softmax(Layer):
    """exp(x - max) / sum along ``axis`` (1 by default), any shape."""

    param_field = "softmax_param"
    supported = frozenset({"axis", "engine"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._axis = self.canonical_axis(self.params.axis, len(bottoms[0]), "axis", 0)
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [torch.softmax(bottoms[0], dim=self._axis)]
