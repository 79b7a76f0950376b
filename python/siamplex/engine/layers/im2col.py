"""Im2col: the values in each window of a convolution, as channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from siamplex.engine.layers.convolution import CONVOLUTION_FIELDS
from siamplex.engine.net.layer import Context, Layer, Shape, register
from siamplex.engine.net.windows import window_of


@register("Im2col")
class Im2col(Layer):
    """(N, C, H, W) -> (N, C kernel_h kernel_w, H', W'), with H' and W' as in Convolution."""

    param_field = "convolution_param"
    supported = CONVOLUTION_FIELDS
    in_place = False
    per_sample = True

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p = self.params
        self.require(len(bottoms[0]) == 4 and p.axis in (1, -3), f"expected a (N, C, H, W) bottom, found {bottoms[0]}")
        self._window = w = window_of(p, 2, self.require)
        count, channels, *sizes = bottoms[0]
        self._extents = []
        for size, span, stride, pad in zip(sizes, w.spans(), w.stride, w.pad, strict=True):
            self.require(size + 2 * pad >= span, f"kernel spans {span} of {size + 2 * pad}")
            self._extents.append((size + 2 * pad - span) // stride + 1)
        return [(count, channels * math.prod(w.kernel), *self._extents)]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        w = self._window
        columns = functional.unfold(bottoms[0], w.kernel, w.dilation, w.pad, w.stride)
        return [columns.reshape(*columns.shape[:2], *self._extents)]
