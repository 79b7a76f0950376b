"""Tile: copies of a blob side by side along ``axis``."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Tile")
class Tile(Layer):
    """(..., d, ...) -> (..., tiles d, ...); gradients of the copies add up."""

    param_field = "tile_param"
    supported = frozenset({"axis", "tiles"})

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return self._axis >= 1

    def configure(self) -> None:
        self.require(self.params.HasField("tiles"), "tiles is missing")
        self.require(self.params.tiles > 0, "tiles must be positive", "tiles", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape = bottoms[0]
        axis = self._axis = self.canonical_axis(self.params.axis, len(shape), "axis", 0)
        return [(*shape[:axis], shape[axis] * int(self.params.tiles), *shape[axis + 1 :])]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [torch.cat([bottoms[0]] * int(self.params.tiles), dim=self._axis)]
