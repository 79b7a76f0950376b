"""Flatten: axes ``axis``..``end_axis`` become one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Flatten")
class Flatten(Layer):
    """(N, C, H, W) -> (N, C*H*W) by default.

    With ``end_axis`` right before ``axis``, an axis of size 1 comes between.
    """

    param_field = "flatten_param"
    supported = frozenset({"axis", "end_axis"})
    in_place = False

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return int(self.params.axis) >= 1

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape = bottoms[0]
        self._start = self.canonical_axis(self.params.axis, len(shape), "axis", 0)
        self._end = self.canonical_axis(self.params.end_axis, len(shape), "end_axis", 0)
        self.require(self._start <= self._end + 1, "end_axis comes before axis", "end_axis", 0)
        middle = math.prod(shape[self._start : self._end + 1])
        self._shape = (*shape[: self._start], middle, *shape[self._end + 1 :])
        return [self._shape]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [bottoms[0].reshape(self._shape)]
