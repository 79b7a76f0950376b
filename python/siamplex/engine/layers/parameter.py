"""Parameter: a learned array as a top."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, filler, register


@register("Parameter")
class Parameter(Layer):
    """Its one blob, of ``shape``, starts at zero, unless weights are loaded or it is shared by name.

    A ``loss_weight`` has no effect: Caffe keeps it where the top's gradient is, and the top takes the blob's gradient
    instead.
    """

    param_field = "parameter_param"
    supported = frozenset({"shape"})
    bottom_count = (0, 0)
    weighs = False

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape = tuple(int(d) for d in self.params.shape.dim)
        self.require(all(d > 0 for d in shape), f"shape {shape}", "shape", 0)
        self.blobs = [BlobSpec(shape, filler())]
        return [shape]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [params[0].view_as(params[0])]
