"""Split: copies of one bottom on several tops."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Split")
class Split(Layer):
    """The layer that Caffe inserts where a blob has several readers; the gradients of the tops are summed."""

    top_count = (1, 1000)
    in_place = False
    per_sample = True

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]] * len(self.spec.message.top)

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [bottoms[0].view_as(bottoms[0]) for _ in self.spec.message.top]
