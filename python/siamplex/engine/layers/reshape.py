"""Reshape: the same values under another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Reshape")
class Reshape(Layer):
    """``dim: 0`` copies the bottom's axis, one ``dim: -1`` is inferred; axes outside
    [axis, axis + num_axes) stay as they are."""

    param_field = "reshape_param"
    supported = frozenset({"shape", "axis", "num_axes"})
    in_place = False

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        # the batch axis is copied, not folded into others
        dims = list(self.params.shape.dim)
        return self.params.axis >= 1 or (self.params.axis == 0 and bool(dims) and dims[0] == 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape = bottoms[0]
        rank = len(shape)
        axis = self.params.axis
        start = axis if axis >= 0 else rank + axis + 1
        self.require(0 <= start <= rank, f"axis {axis} of a blob with {rank} axes", "axis", 0)
        span = self.params.num_axes
        end = rank if span == -1 else start + span
        self.require(start <= end <= rank, f"num_axes {span} from axis {start}", "num_axes", 0)
        self._start, self._end = start, end
        self._dims = [int(d) for d in self.params.shape.dim]
        self.require(self._dims.count(-1) <= 1, "more than one dim is -1", "shape", 0)
        return [self._target(shape)]

    def _target(self, shape: Shape) -> Shape:
        dims = list(self._dims)
        for i, dim in enumerate(dims):
            if dim == 0:
                self.require(self._start + i < len(shape), f"dim {i} copies an axis not there")
                dims[i] = shape[self._start + i]
        new = [*shape[: self._start], *dims, *shape[self._end :]]
        total = math.prod(shape)
        if -1 in new:
            rest = -math.prod(new)
            self.require(rest > 0 and total % rest == 0, f"{shape} does not reshape to {new}")
            new[new.index(-1)] = total // rest
        self.require(math.prod(new) == total, f"{shape} does not reshape to {tuple(new)}")
        return tuple(new)

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0]
        return [x.reshape(self._target(tuple(x.shape)))]
