"""Im2col: the values in each window of a convolution, as channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from siamplex.engine.layers.convolution import CONVOLUTION_FIELDS
from siamplex.engine.net.layer import Context, Layer, Shape, register
from siamplex.engine.net.windows import overhang, positions, window_of


@register("Im2col")
class Im2col(Layer):
    """(N, C, H, W) -> (N, C kernel_h kernel_w, H', W'), with H' and W' as in Convolution.

    The channels are at ``axis``, and windows go over all axes behind it.
    """

    param_field = "convolution_param"
    supported = CONVOLUTION_FIELDS
    in_place = False

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return self._axis >= 1

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p, shape = self.params, bottoms[0]
        self._axis = self.canonical_axis(p.axis, len(shape), "axis", 0)
        sizes = shape[self._axis + 1 :]
        self.require(bool(sizes), f"no axis for windows behind axis {self._axis} of {shape}", "axis", 0)
        self._window = w = window_of(p, len(sizes), self.require)
        self._extents = []
        for size, span, stride, pad in zip(sizes, w.spans(), w.stride, w.pad, strict=True):
            self._extents.append(positions(size, span, stride, pad, self.require))
        self._overhang = overhang(sizes, w)
        self._shape = (*shape[: self._axis], shape[self._axis] * math.prod(w.kernel), *self._extents)
        return [self._shape]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        w, first = self._window, self._axis + 1
        margins = [(pad, pad + more) for pad, more in zip(w.pad, self._overhang, strict=True)]
        x = functional.pad(bottoms[0], [margin for pair in reversed(margins) for margin in pair])
        for i, (kernel, stride, dilation, extent) in enumerate(
            zip(w.kernel, w.stride, w.dilation, self._extents, strict=True)
        ):
            taps = torch.arange(kernel)[:, None] * dilation + torch.arange(extent) * stride
            x = x.index_select(first + 2 * i, taps.reshape(-1).to(x.device)).unflatten(first + 2 * i, (kernel, extent))
        # (..., C, kernel_h, H', kernel_w, W') -> (..., C, kernel_h, kernel_w, H', W')
        axes = range(len(self._extents))
        order = [*range(first), *(first + 2 * i for i in axes), *(first + 2 * i + 1 for i in axes)]
        return [x.permute(order).reshape(self._shape)]
