"""Filter: keep the rows of its bottoms for which a selector is not 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register


@register("Filter")
class Filter(Layer):
    """Bottoms: blobs (N, ...) and, last, a selector (N[, 1 ...]); tops: the selected rows of each blob.

    The number of selected rows differs from batch to batch; when the net is built, shapes have all N rows.
    """

    bottom_count = (2, 1000)
    top_count = (1, 1000)
    in_place = False

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        *blobs, selector = bottoms
        tops = len(self.spec.message.top)
        self.require(len(blobs) == tops, f"{len(blobs)} blobs to filter with {tops} tops")
        self.require(math.prod(selector[1:]) == 1, f"expected a selector of single values, found {selector}")
        for shape in blobs:
            self.require(shape[0] == selector[0], f"{selector[0]} selectors for {shape[0]} rows")
        return blobs

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        *blobs, selector = bottoms
        chosen = selector.detach().reshape(-1).nonzero()[:, 0]
        what = "its selector has no gradient"
        return [no_gradient(x.index_select(0, chosen), selector, self.spec, what) for x in blobs]
