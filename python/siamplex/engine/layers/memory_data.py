"""MemoryData: samples and labels that the calling program provides."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("MemoryData")
class MemoryData(Layer):
    """Tops: samples (N, C, H, W) and labels (N,); the caller gives their values, as for an Input.

    Raises PrototxtError where the net runs without them.
    """

    param_field = "memory_data_param"
    supported = frozenset({"batch_size", "channels", "height", "width"})
    bottom_count = (0, 0)
    top_count = (2, 2)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p = self.params
        shape = tuple(int(size) for size in (p.batch_size, p.channels, p.height, p.width))
        self.require(min(shape) > 0, "batch_size, channels, height and width must be given, and positive")
        return [shape, (shape[0],)]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        raise self.spec.error(
            "its values were not given: a program has to hand them over; Data takes them from an LMDB, DummyData makes "
            "some up"
        )
