"""Normalize: divide each image or pixel by its L2 norm and multiply by a learned scale (a layer of Caffe's forks)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, filler, register


@register("Normalize")
class Normalize(Layer):
    """y = s x / sqrt(sum of x^2 + eps); an extension from the SSD fork, which Caffe 1.0 does not have.

    The sum is over each (C, H, W) of a (N, C[, H, W]) bottom or, without ``across_spatial``, over the channels of each
    pixel.  The scale s starts at 1 and is one number, (), or without ``channel_shared`` (C,).  It learns unless lr_mult
    is 0.
    """

    param_field = "norm_param"
    supported = frozenset({"across_spatial", "scale_filler", "channel_shared", "eps"})
    per_sample = True

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p = self.params
        self.require(2 <= len(bottoms[0]) <= 4, f"expected a (N, C, H, W) bottom, found {bottoms[0]}")
        shape = () if p.channel_shared else (bottoms[0][1],)
        self.blobs = [BlobSpec(shape, p.scale_filler if p.HasField("scale_filler") else filler(value=1))]
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x, scale = bottoms[0], params[0]
        axes = list(range(1, x.dim())) if self.params.across_spatial else [1]
        length = (x.square().sum(dim=axes, keepdim=True) + float(self.params.eps)).sqrt()
        return [x / length * (scale if scale.dim() == 0 else scale.reshape(1, -1, *[1] * (x.dim() - 2)))]
