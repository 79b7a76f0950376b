"""Shapes as older layers of Caffe see them: num, channels, height and width."""

from __future__ import annotations

from collections.abc import Callable

from siamplex.engine.net.layer import Shape

Require = Callable[..., None]


def four_axes(shape: Shape, require: Require) -> Shape:
    """(num, channels, height, width) of a shape, 1 where it has no such axis; ``require`` refuses more than four axes.

    Caffe's Blob has these as legacy accessors, which stop at a blob with more axes.
    """
    what = f"takes up to four axes, found {shape}: put a Reshape or Flatten before it"
    require(len(shape) <= 4, what)
    return (*shape, *[1] * (4 - len(shape)))
