"""Pooling: MAX or AVE over windows, sizes rounded up as Caffe rounds them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from siamplex.engine.net.layer import Context, Layer, Shape, register
from siamplex.schema.messages import enum_name

# what Caffe's MAX pooling starts from, and so what an empty window gives
_LOWEST = float(torch.finfo(torch.float32).min)


def pooled_extent(size: int, kernel: int, stride: int, pad: int, floor: bool, padded: bool | None = None) -> int:
    """Windows along one axis: ceil((size + 2 pad - kernel) / stride) + 1.

    With padding (``padded``: along any axis), a last window that would start after the image and its
    leading padding is dropped.
    """
    span = size + 2 * pad - kernel
    count = (span // stride if floor else -(-span // stride)) + 1
    if (pad if padded is None else padded) and (count - 1) * stride >= size + pad:
        count -= 1
    return count


@register("Pooling")
class Pooling(Layer):
    """(N, C, H, W) -> (N, C, H', W').

    Sizes round up unless round_mode is FLOOR, so the last window may exceed the image; it is clipped, as is a window
    larger than the image.  AVE divides by the window's area including padding, clipped at the padded edge.  With MAX a
    second top has the index y W + x of each maximum, -1 for a window wholly past the edge.
    """

    param_field = "pooling_param"
    supported = frozenset(
        "pool pad pad_h pad_w kernel_size kernel_h kernel_w stride stride_h stride_w engine "
        "global_pooling round_mode".split()
    )
    in_place = False
    top_count = (1, 2)
    per_sample = True

    def configure(self) -> None:
        p = self.params
        self.method = enum_name(p, "pool")
        self.floor = enum_name(p, "round_mode") == "FLOOR"
        self.require(self.method != "STOCHASTIC", "pool STOCHASTIC is not supported", "pool", 0)
        whole, halves = p.HasField("kernel_size"), p.HasField("kernel_h") and p.HasField("kernel_w")
        if p.global_pooling:
            kernels = [f for f in ("kernel_size", "kernel_h", "kernel_w") if p.HasField(f)]
            self.require(not kernels, "global_pooling takes no kernel size", *kernels[:1], 0)
        else:
            self.require(whole or halves, "kernel_size, or kernel_h and kernel_w, is missing")
            self.require(not (whole and halves), "give kernel_size or kernel_h and kernel_w, not both")
            unread = [name for name in ("kernel_h", "kernel_w") if whole and p.HasField(name)]
            if unread:
                self.note(f"{unread[0]} has no effect beside kernel_size", unread[0], 0)
        for stem in ("stride", "pad"):
            given = [p.HasField(f"{stem}{half}") for half in ("", "_h", "_w")]
            fits = not any(given[1:]) or given == [False, True, True]
            self.require(fits, f"give {stem}, or both {stem}_h and {stem}_w")
        self.kernel = self._pair("kernel_size", "kernel")
        self.stride = self._pair("stride", "stride")
        self.pad = self._pair("pad", "pad")
        self.require(min(self.stride) > 0, "stride must be positive", "stride", 0)
        if p.global_pooling:
            alone = self.stride == (1, 1) and self.pad == (0, 0)
            field = "stride" if p.HasField("stride") else "pad"
            self.require(alone, "global_pooling goes with stride 1 and pad 0", field, 0)
        two = len(self.spec.message.top) == 2
        self.require(self.method == "MAX" or not two, f"pool {self.method} has one top", "pool", 0)
        if not p.global_pooling:
            self.require(min(self.kernel) > 0, "kernel_size must be positive", "kernel_size", 0)
            self.require(
                self.pad[0] < self.kernel[0] and self.pad[1] < self.kernel[1],
                "pad must be smaller than the kernel",
                "pad",
                0,
            )

    def _pair(self, whole: str, stem: str) -> tuple[int, int]:
        p = self.params
        if p.HasField(f"{stem}_h") and not p.HasField(whole):
            return int(getattr(p, f"{stem}_h")), int(getattr(p, f"{stem}_w"))
        return (int(getattr(p, whole)),) * 2

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.require(len(bottoms[0]) == 4, f"expected a (N, C, H, W) bottom, found {bottoms[0]}")
        count, channels, height, width = bottoms[0]
        if self.params.global_pooling:
            self.kernel, self.stride, self.pad = (height, width), (1, 1), (0, 0)
        self._extents = self._windows(height, width)
        for size, kernel, pad, windows in zip((height, width), self.kernel, self.pad, self._extents, strict=True):
            self.require(windows > 0, f"window {kernel} over {size + 2 * pad} leaves no output")
        return [(count, channels, *self._extents)] * len(self.spec.message.top)

    def _windows(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = (
            pooled_extent(size, kernel, stride, pad, self.floor, any(self.pad))
            for size, kernel, stride, pad in zip((height, width), self.kernel, self.stride, self.pad, strict=True)
        )
        return rows, columns

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        if len(self.spec.message.top) == 2:
            return self._max_with_places(bottoms[0])
        return [self._max(bottoms[0]) if self.method == "MAX" else self._average(bottoms[0])]

    def _margins(self, x: torch.Tensor) -> list[int]:
        """Padding left, right, top, bottom with which whole windows give exactly the output's size."""
        margins = []
        for axis in (1, 0):
            size, pad = x.shape[2 + axis], self.pad[axis]
            reach = (self._extents[axis] - 1) * self.stride[axis] + self.kernel[axis]
            margins += [pad, max(0, reach - size - pad)]
        return margins

    def _max(self, x: torch.Tensor) -> torch.Tensor:
        agrees = all(
            kernel <= size + 2 * pad and 2 * pad <= kernel and (count - 1) * stride < size + pad
            for count, size, kernel, stride, pad in zip(
                self._extents, x.shape[2:], self.kernel, self.stride, self.pad, strict=True
            )
        )
        if agrees:
            return functional.max_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=not self.floor)
        # torch neither pads by more than half a window nor keeps a window wholly past the edge
        padded = functional.pad(x, self._margins(x), value=_LOWEST)
        return functional.max_pool2d(padded, self.kernel, self.stride)

    def _max_with_places(self, x: torch.Tensor) -> list[torch.Tensor]:
        margins = self._margins(x)
        padded = functional.pad(x, margins, value=_LOWEST)
        y, places = functional.max_pool2d(padded, self.kernel, self.stride, return_indices=True)
        rows = torch.div(places, padded.shape[3], rounding_mode="floor") - margins[2]
        index = rows * x.shape[3] + places % padded.shape[3] - margins[0]
        return [y, torch.where(y > _LOWEST, index, -1).to(x.dtype)]

    def _average(self, x: torch.Tensor) -> torch.Tensor:
        sums = functional.avg_pool2d(functional.pad(x, self._margins(x)), self.kernel, self.stride, divisor_override=1)
        rows = self._lengths(0, x.shape[2]).to(x)
        columns = self._lengths(1, x.shape[3]).to(x)
        return sums[:, :, : len(rows), : len(columns)] / (rows[:, None] * columns)

    def _lengths(self, axis: int, size: int) -> torch.Tensor:
        """Each window's length along an axis, padding counted, clipped at size + pad."""
        start = torch.arange(self._extents[axis]) * self.stride[axis] - self.pad[axis]
        return (start + self.kernel[axis]).clamp(max=size + self.pad[axis]) - start
