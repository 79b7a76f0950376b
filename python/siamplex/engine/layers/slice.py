"""Slice: one bottom cut along ``axis`` into as many tops."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Slice")
class Slice(Layer):
    """Cuts at ``slice_point``, or evenly without; ``slice_dim`` is the older name of ``axis``.

    A pair Datum (N, 6, H, W) becomes the two images (N, 3, H, W) of the twins.
    """

    param_field = "slice_param"
    supported = frozenset({"axis", "slice_dim", "slice_point"})
    top_count = (1, 1000)

    def configure(self) -> None:
        both = self.params.HasField("axis") and self.params.HasField("slice_dim")
        self.require(not both, "give axis or slice_dim, not both", "slice_dim", 0)

    @property
    def axis(self) -> int:
        """The axis asked for, not yet canonical."""
        by_dim = self.params.HasField("slice_dim")
        return int(self.params.slice_dim if by_dim else self.params.axis)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape = bottoms[0]
        axis = self.along = self.canonical_axis(self.axis, len(shape), "axis", 0)
        count, points = len(self.spec.message.top), [int(p) for p in self.params.slice_point]
        if points:
            self.require(len(points) == count - 1, f"{len(points)} slice points for {count} tops")
            edges = [0, *points, shape[axis]]
            self.sizes = [b - a for a, b in pairwise(edges)]
            self.require(min(self.sizes) > 0, f"slice points {points} of {shape[axis]}", "slice_point", 0)
        else:
            self.require(shape[axis] % count == 0, f"{shape[axis]} does not cut into {count} tops")
            self.sizes = [shape[axis] // count] * count
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in self.sizes]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return list(bottoms[0].split(self.sizes, dim=self.along))
