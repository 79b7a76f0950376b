"""Concat: bottoms joined along ``axis``."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Concat")
class Concat(Layer):
    """All bottoms must agree on every other axis; ``concat_dim`` is the older name of ``axis``."""

    param_field = "concat_param"
    supported = frozenset({"axis", "concat_dim"})
    bottom_count = (1, 1000)

    def configure(self) -> None:
        both = self.params.HasField("axis") and self.params.HasField("concat_dim")
        self.require(not both, "give axis or concat_dim, not both", "concat_dim", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        asked = self.params.concat_dim if self.params.HasField("concat_dim") else self.params.axis
        self.along = axis = self.canonical_axis(asked, len(bottoms[0]), "axis", 0)
        for shape in bottoms[1:]:
            same = len(shape) == len(bottoms[0]) and all(
                a == b for i, (a, b) in enumerate(zip(shape, bottoms[0], strict=True)) if i != axis
            )
            self.require(same, f"shapes {bottoms[0]} and {shape} do not meet off axis {axis}")
        total = sum(shape[axis] for shape in bottoms)
        return [(*bottoms[0][:axis], total, *bottoms[0][axis + 1 :])]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [torch.cat(list(bottoms), dim=self.along)]
