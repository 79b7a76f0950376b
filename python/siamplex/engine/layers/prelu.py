"""PReLU: y = max(x, 0) + a min(x, 0) with a learned slope a."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from siamplex.engine.net.four_axes import four_axes
from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, filler, register


@register("PReLU")
class PReLU(Layer):
    """(N, C, ...); a is (C,), or () with ``channel_shared``, and starts at 0.25."""

    param_field = "prelu_param"
    supported = frozenset({"filler", "channel_shared"})
    per_sample = True
    backward_reads = frozenset({"bottom"})
    own_bottom = "copied"

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.require(len(bottoms[0]) >= 2, f"expected a (N, C, ...) bottom, found {bottoms[0]}")
        four_axes(bottoms[0], self.require)
        shape = () if self.params.channel_shared else (bottoms[0][1],)
        given = self.params.HasField("filler")
        self.blobs = [BlobSpec(shape, self.params.filler if given else filler(value=0.25))]
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [functional.prelu(bottoms[0], params[0].reshape(-1))]
