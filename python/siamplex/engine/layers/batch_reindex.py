"""BatchReindex: select rows of a blob by index, in any order and with repetition."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register


@register("BatchReindex")
class BatchReindex(Layer):
    """Row i of the top is row index[i] of the first bottom; the second bottom is the index (M,)."""

    bottom_count = (2, 2)
    in_place = False

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.require(len(bottoms[0]) > 0, "expected rows to select from, found a single number")
        self.require(len(bottoms[1]) == 1, f"expected an index of one axis, found {bottoms[1]}")
        return [(bottoms[1][0], *bottoms[0][1:])]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0]
        index = bottoms[1].detach().long()
        if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < len(x)):
            raise self.spec.error(f"an index outside 0..{len(x) - 1}")
        return [no_gradient(x.index_select(0, index), bottoms[1], self.spec, "its index has no gradient")]
