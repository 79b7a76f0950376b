"""AbsVal: y = |x|."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("AbsVal")
class AbsVal(Layer):
    """Any shape, not in place; the gradient is sign(x), 0 at x = 0."""

    in_place = False
    per_sample = True
    backward_reads = frozenset({"bottom"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [bottoms[0].abs()]
