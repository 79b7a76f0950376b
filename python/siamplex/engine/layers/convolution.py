"""Convolution with groups, stride, padding and dilation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, register
from siamplex.engine.net.windows import overhang, positions, window_of

# Channels from which channels-last memory pays on a CPU: the pooling and normalisation that follow keep
# this format, and torch's pooling is an order of magnitude faster with it
_WIDE = 32

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
CONVOLUTION_FIELDS = frozenset(
    "num_output bias_term pad kernel_size stride dilation pad_h pad_w kernel_h kernel_w stride_h "
    "stride_w group weight_filler bias_filler engine axis force_nd_im2col".split()
)


@register("Convolution")
class Convolution(Layer):
    """Cross-correlation over the one to three axes after ``axis``: (N, C, H, W) -> (N, num_output, H', W').

    H' = (H + 2 pad - (dilation (kernel - 1) + 1)) / stride + 1, rounded down; a kernel that exceeds an axis by
    less than its stride meets zeros there.  Weight is (num_output, C / group, kernel_h, kernel_w), bias (num_output).
    Several bottoms with the same number of channels give as many tops, computed with the same weights.
    """

    param_field = "convolution_param"
    supported = CONVOLUTION_FIELDS
    in_place = False
    bottom_count = (1, 1000)
    top_count = (1, 1000)
    paired = True
    backward_reads = frozenset({"bottom"})

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return self._axis >= 1

    def configure(self) -> None:
        p = self.params
        self._axis = int(p.axis)
        self.require(p.num_output > 0, "num_output must be positive", "num_output", 0)
        self.require(p.group > 0 and p.num_output % p.group == 0, "group must divide num_output", "group", 0)
        if len(p.kernel_size) <= 1 and p.axis == 1:  # else it takes the bottom's axes to tell
            window_of(p, 2, self.require)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p, rank = self.params, len(bottoms[0])
        self._axis = self.canonical_axis(p.axis, rank, "axis", 0)
        spatial = rank - self._axis - 1
        self.require(
            spatial > 0, f"no axis to slide over in {bottoms[0]}: an InnerProduct with this axis does the same"
        )
        what = f"slides over up to three axes after axis {self._axis}, found {bottoms[0]}: give a higher axis"
        self.require(spatial <= 3, what, "axis", 0)
        window = window_of(p, spatial, self.require)
        self.kernel, self.stride, self.pad, self.dilation = window.kernel, window.stride, window.pad, window.dilation
        self._overhang = overhang(bottoms[0][self._axis + 1 :], window)
        channels = bottoms[0][self._axis]
        self.require(channels % p.group == 0, f"group does not divide {channels} channels", "group", 0)
        for shape in bottoms[1:]:
            self.require(shape == bottoms[0], f"bottoms of shapes {bottoms[0]} and {shape}")
        self.blobs = [BlobSpec(self._weight_shape(channels), p.weight_filler)]
        if p.bias_term:
            self.blobs.append(BlobSpec((int(p.num_output),), p.bias_filler))
        sizes = bottoms[0][self._axis + 1 :]
        extents = [
            self._extent(size, span, stride, pad)
            for size, span, stride, pad in zip(sizes, window.spans(), self.stride, self.pad, strict=True)
        ]
        return [(*bottoms[0][: self._axis], int(p.num_output), *extents)] * len(bottoms)

    def _weight_shape(self, channels: int) -> Shape:
        return (int(self.params.num_output), channels // self.params.group, *self.kernel)

    def _extent(self, size: int, span: int, stride: int, pad: int) -> int:
        return positions(size, span, stride, pad, self.require)

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        bias = params[1] if len(params) > 1 else None
        return [self._over_batch(x, params[0], bias, context) for x in bottoms]

    def _over_batch(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, context: Context
    ) -> torch.Tensor:
        """All axes before the channels are samples."""
        if self._axis == 1:
            return self._convolve(x, weight, bias, context)
        before = x.shape[: self._axis]
        y = self._convolve(x.reshape(math.prod(before), *x.shape[self._axis :]), weight, bias, context)
        return y.reshape(*before, *y.shape[1:])

    def _convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, context: Context
    ) -> torch.Tensor:
        flat = x.dim() == 4 and not self.overwritten
        if flat and x.device.type == "cpu" and self.params.num_output >= _WIDE:
            x = x.contiguous(memory_format=torch.channels_last)
        if any(self._overhang):
            x = functional.pad(x, [margin for more in reversed(self._overhang) for margin in (0, more)])
        plain = set(self.stride) == set(self.dilation) == {1}
        pad = (self.pad[0], self.pad[-1])
        quicker = context.kernels.convolve(x, weight, bias, pad) if context.kernels and flat and plain else None
        if quicker is not None:
            return quicker
        group = int(self.params.group)
        result: torch.Tensor = _CONVOLVE[x.dim() - 2](x, weight, bias, self.stride, self.pad, self.dilation, group)
        return result
