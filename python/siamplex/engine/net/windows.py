"""The window of a convolution (kernel, stride, padding, dilation), read from convolution_param."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Require = Callable[..., None]
Extents = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Kernel, stride, padding and dilation, one number for each spatial axis."""

    kernel: Extents
    stride: Extents
    pad: Extents
    dilation: Extents

    def spans(self) -> Extents:
        """How far a dilated kernel reaches along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def positions(size: int, span: int, stride: int, pad: int, require: Require) -> int:
    """How many windows of a convolution there are along an axis: (size + 2 pad - span) / stride + 1.

    The division drops the fraction, as in C: a window that exceeds the axis by less than its stride still counts.
    """
    beyond = span - size - 2 * pad
    require(beyond < stride, f"kernel spans {span} of {size + 2 * pad}")
    return 1 if beyond > 0 else -beyond // stride + 1


def overhang(sizes: Sequence[int], window: Window) -> list[int]:
    """Zeros to add behind each axis so that its window fits."""
    return [max(0, span - size - 2 * pad) for size, span, pad in zip(sizes, window.spans(), window.pad, strict=True)]


def window_of(p: Any, axes: int, require: Require) -> Window:
    """The window of a ConvolutionParameter for ``axes`` spatial axes; ``require`` refuses wrong settings.

    Each setting is given once for all axes or once for each axis; with two axes also as ``_h`` and ``_w``.
    """

    def settle(many: str, stem: str | None, default: int | None) -> Extents:
        values = [int(v) for v in getattr(p, many)]
        if stem and (p.HasField(f"{stem}_h") or p.HasField(f"{stem}_w")):
            require(axes == 2, f"{stem}_h and {stem}_w are for two spatial axes, not {axes}", f"{stem}_h", 0)
            require(not values, f"give {many} or {stem}_h and {stem}_w, not both", many, 0)
            return int(getattr(p, f"{stem}_h")), int(getattr(p, f"{stem}_w"))
        if not values:
            require(default is not None, f"{many} is missing")
            values = [default or 0]
        fits = len(values) in (1, axes)
        require(fits, f"{len(values)} values of {many} for {axes} spatial axes", many, len(values) - 1)
        return tuple(values) if len(values) == axes else (values[0],) * axes

    window = Window(
        settle("kernel_size", "kernel", None),
        settle("stride", "stride", 1),
        settle("pad", "pad", 0),
        settle("dilation", None, 1),
    )
    for name in ("kernel", "stride", "dilation"):
        field = "kernel_size" if name == "kernel" else name
        require(min(getattr(window, name), default=1) > 0, f"{field} must be positive", field, 0)
    return window
