"""ReLU: y = max(x, 0) + negative_slope * min(x, 0)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("ReLU")
class ReLU(Layer):
    """Rectified linear unit, any shape; the paper's activation throughout."""

    param_field = "relu_param"
    supported = frozenset({"negative_slope", "engine"})
    per_sample = True
    backward_reads = frozenset({"bottom"})
    # they keep the signs, or set values to 0 whose gradient is 0 as well
    harmless_behind = frozenset({"ReLU", "Dropout"})

    @property
    def own_bottom(self) -> str:  # type: ignore[override]
        return "signs" if self.params.negative_slope >= 0 else "lost"

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        slope = self.params.negative_slope
        if slope or self.overwritten:  # leaky_relu saves its bottom, as Caffe does
            return [functional.leaky_relu(bottoms[0], slope)]
        return [functional.relu(bottoms[0])]
