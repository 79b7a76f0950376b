"""TanH: the hyperbolic tangent."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("TanH")
class TanH(Layer):
    """Any shape; its backward pass reads its top: dx = dy (1 - y^2)."""

    param_field = "tanh_param"
    supported = frozenset({"engine"})
    per_sample = True
    backward_reads = frozenset({"top"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [torch.tanh(bottoms[0])]
