"""Deconvolution (transposed convolution): the backward pass of a convolution as a forward pass."""

from __future__ import annotations

import torch
from torch.nn import functional

from siamplex.engine.layers.convolution import Convolution
from siamplex.engine.net.layer import Context, Shape, register

_DECONVOLVE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


@register("Deconvolution")
class Deconvolution(Convolution):
    """(N, C, H, W) -> (N, num_output, H', W') with H' = stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad.

    Weight is (C, num_output / group, kernel_h, kernel_w), bias (num_output).
    """

    def _weight_shape(self, channels: int) -> Shape:
        return (channels, int(self.params.num_output) // self.params.group, *self.kernel)

    def _extent(self, size: int, span: int, stride: int, pad: int) -> int:
        extent = stride * (size - 1) + span - 2 * pad
        self.require(extent > 0, f"pad {pad} leaves nothing of {size} values", "pad", 0)
        return extent

    def _convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, context: Context
    ) -> torch.Tensor:
        group = int(self.params.group)
        result: torch.Tensor = _DECONVOLVE[x.dim() - 2](x, weight, bias, self.stride, self.pad, 0, group, self.dilation)
        return result
