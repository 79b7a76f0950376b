"""Broadcasting in Scale and Bias: a smaller array is applied along some axes of a larger one."""

from __future__ import annotations

from collections.abc import Callable

from siamplex.engine.net.layer import Shape

Require = Callable[..., None]


def own_shape(bottom: Shape, axis: int, num_axes: int, require: Require) -> Shape:
    """Shape of a learned array that covers ``num_axes`` axes of ``bottom`` from ``axis`` on, -1 for all of them."""
    require(num_axes >= -1, f"num_axes {num_axes} is negative", "num_axes", 0)
    if num_axes == -1:
        return bottom[axis:]
    require(axis + num_axes <= len(bottom), f"{num_axes} axes from axis {axis} of {bottom}", "num_axes", 0)
    return bottom[axis : axis + num_axes]


def along(bottom: Shape, other: Shape, axis: int, require: Require) -> Shape:
    """The shape in which an array of shape ``other`` broadcasts to ``bottom`` from ``axis`` on; scalars fit any."""
    if not other:
        return (1,) * len(bottom)
    fits = bottom[axis : axis + len(other)] == other
    require(fits, f"an array of shape {other} along axis {axis} of {bottom}")
    return (*[1] * axis, *other, *[1] * (len(bottom) - axis - len(other)))
