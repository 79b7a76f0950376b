"""Convolution with groups, stride, padding and dilation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from siamplex.engine.layer import BlobSpec, Context, Layer, Shape, register
from siamplex.engine.spectral import spectral_conv2d, worthwhile

# From so many channels on, having a pixel's channels side by side pays on a CPU: the pooling and
# normalisation behind follow suit, and torch's pooling is an order of magnitude faster that way
_WIDE = 32


@register("Convolution")
class Convolution(Layer):
    """2-D cross-correlation: (N, C, H, W) -> (N, num_output, H', W').

    H' = (H + 2 pad - (dilation (kernel - 1) + 1)) / stride + 1, rounded down.  Weight is
    (num_output, C / group, kernel_h, kernel_w), bias (num_output).
    """

    param_field = "convolution_param"
    supported = frozenset(
        "num_output bias_term pad kernel_size stride dilation pad_h pad_w kernel_h kernel_w stride_h "
        "stride_w group weight_filler bias_filler engine axis".split()
    )
    per_sample = True

    def configure(self) -> None:
        p = self.params
        self.require(p.axis == 1, "only axis 1 is supported", "axis", 0)
        self.require(p.num_output > 0, "num_output must be positive", "num_output", 0)
        self.require(p.group > 0 and p.num_output % p.group == 0, "group must divide num_output", "group", 0)
        self.kernel = self._pair(p, "kernel_size", "kernel", None)
        self.stride = self._pair(p, "stride", "stride", 1)
        self.pad = self._pair(p, "pad", "pad", 0)
        self.dilation = self._pair(p, "dilation", None, 1)
        self.require(min(self.kernel) > 0, "kernel_size must be positive", "kernel_size", 0)
        self.require(min(self.stride) > 0, "stride must be positive", "stride", 0)
        self.require(min(self.dilation) > 0, "dilation must be positive", "dilation", 0)

    def _pair(self, p: Any, many: str, stem: str | None, default: int | None) -> tuple[int, int]:
        values = [int(v) for v in getattr(p, many)]
        if stem and (p.HasField(f"{stem}_h") or p.HasField(f"{stem}_w")):
            self.require(not values, f"give {many} or {stem}_h and {stem}_w, not both", many, 0)
            return int(getattr(p, f"{stem}_h")), int(getattr(p, f"{stem}_w"))
        if not values:
            self.require(default is not None, f"{many} is missing")
            values = [default or 0]
        self.require(len(values) <= 2, f"{many} for more than 2 axes is not supported", many, 2)
        return values[0], values[-1]

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.require(len(bottoms[0]) == 4, f"expected a (N, C, H, W) bottom, found {bottoms[0]}")
        count, channels, *size = bottoms[0]
        p = self.params
        self.require(channels % p.group == 0, f"group does not divide {channels} channels", "group", 0)
        out = []
        for extent, kernel, stride, pad, dilation in zip(
            size, self.kernel, self.stride, self.pad, self.dilation, strict=True
        ):
            span = dilation * (kernel - 1) + 1
            self.require(extent + 2 * pad >= span, f"kernel spans {span} of {extent + 2 * pad}")
            out.append((extent + 2 * pad - span) // stride + 1)
        weight = (int(p.num_output), channels // p.group, *self.kernel)
        self.blobs = [BlobSpec(weight, p.weight_filler)]
        if p.bias_term:
            self.blobs.append(BlobSpec((int(p.num_output),), p.bias_filler))
        return [(count, int(p.num_output), *out)]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x, bias = bottoms[0], params[1] if len(params) > 1 else None
        if x.device.type == "cpu" and self.params.num_output >= _WIDE:
            x = x.contiguous(memory_format=torch.channels_last)
        plain = self.stride == (1, 1) and self.dilation == (1, 1)
        if context.spectra and plain and worthwhile(x, params[0], self.pad):
            return [spectral_conv2d(x, params[0], bias, self.pad)]
        return [
            functional.conv2d(
                x,
                params[0],
                bias,
                self.stride,
                self.pad,
                self.dilation,
                int(self.params.group),
            )
        ]
