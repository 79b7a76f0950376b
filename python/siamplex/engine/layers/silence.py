"""Silence: reads blobs that no other layer reads, so that they are not outputs of the net."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Silence")
class Silence(Layer):
    """Any number of bottoms, no top."""

    bottom_count = (1, 1000)
    top_count = (0, 0)
    per_sample = True

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return []

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return []
