"""SPP: spatial pyramid pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.layers.pooling import Pooling
from siamplex.engine.net.layer import Context, Layer, LayerSpec, Shape, register
from siamplex.schema import messages


@register("SPP")
class SPP(Layer):
    """(N, C, H, W) -> (N, C (1 + 4 + 16 + ...)): pooling into 1, 2 x 2, 4 x 4, ... bins, concatenated.

    Bins are ceil(H / bins) high; where they exceed the image, the first is padded.  A pyramid of one level gives
    (N, C, 1, 1).
    """

    param_field = "spp_param"
    supported = frozenset({"pyramid_height", "pool", "engine"})
    in_place = False
    per_sample = True

    def configure(self) -> None:
        self.require(self.params.pyramid_height > 0, "pyramid_height must be positive", "pyramid_height", 0)
        self.require(self.params.pyramid_height < 16, "pyramid_height is 16 or more", "pyramid_height", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.require(len(bottoms[0]) == 4, f"expected a (N, C, H, W) bottom, found {bottoms[0]}")
        deepest = 2 ** (int(self.params.pyramid_height) - 1)
        for size in bottoms[0][2:]:
            kernel = -(-size // deepest)
            fits = (kernel * deepest - size + 1) // 2 < kernel
            what = f"an image of {bottoms[0][2]}x{bottoms[0][3]} is too small for {deepest} bins along each axis"
            self.require(fits, f"{what}: give a smaller pyramid_height", "pyramid_height", 0)
        self._levels = [self._level(2**i, bottoms[0]) for i in range(int(self.params.pyramid_height))]
        shapes = [level.setup(bottoms)[0] for level in self._levels]
        if len(shapes) == 1:
            return shapes
        return [(bottoms[0][0], sum(math.prod(shape[1:]) for shape in shapes))]

    def _level(self, bins: int, shape: Shape) -> Layer:
        message = messages.LayerParameter(name=self.spec.name, type="Pooling", bottom=["x"], top=["y"])
        pooling = message.pooling_param
        pooling.pool = self.params.pool
        for axis, size in (("h", shape[2]), ("w", shape[3])):
            kernel = -(-size // bins)
            for name, value in (("kernel", kernel), ("stride", kernel), ("pad", (kernel * bins - size + 1) // 2)):
                setattr(pooling, f"{name}_{axis}", value)
        return Pooling(LayerSpec(message, self.spec.source, self.spec.path, self.spec.share))

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        pooled = [level.forward(bottoms, (), context)[0] for level in self._levels]
        return pooled if len(pooled) == 1 else [torch.cat([x.flatten(1) for x in pooled], dim=1)]
