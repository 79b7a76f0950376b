"""Crop: cut the first bottom to the size of the second."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Crop")
class Crop(Layer):
    """Axes from ``axis`` on get the second bottom's sizes, cut at ``offset`` (one for all axes or one each).

    The second bottom may have more axes than the first; they have no effect.
    """

    param_field = "crop_param"
    supported = frozenset({"axis", "offset"})
    bottom_count = (2, 2)
    in_place = False

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return self._axis >= 1

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape, like = bottoms
        self.require(len(shape) <= len(like), f"bottoms of shapes {shape} and {like}")
        self._axis = self.canonical_axis(self.params.axis, len(shape), "axis", 0)
        given, axes = [int(o) for o in self.params.offset], len(shape) - self._axis
        self.require(len(given) in (0, 1, axes), f"{len(given)} offsets for {axes} axes", "offset", 0)
        offsets = given if len(given) == axes else (given or [0]) * axes
        self._parts = []
        for axis, offset in enumerate(offsets, self._axis):
            fits = shape[axis] - offset >= like[axis]
            self.require(fits, f"axis {axis}: {like[axis]} values from {offset} on, of {shape[axis]}")
            self._parts.append(slice(offset, offset + like[axis]))
        return [(*shape[: self._axis], *like[self._axis : len(shape)])]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        parts = (*[slice(None)] * self._axis, *self._parts)
        return [bottoms[0][parts]]
