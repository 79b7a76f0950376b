"""ArgMax: the indices of the largest values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register


@register("ArgMax")
class ArgMax(Layer):
    """Indices of the ``top_k`` largest values of each row or along ``axis``, largest first; no gradient.

    Without ``axis``: (N, ...) -> (N, 1, top_k[, 1 ...]), with as many axes as the bottom and at least three; with
    ``out_max_val`` (N, 2, top_k), indices and values.  With ``axis``: that axis becomes top_k, and the top has the
    indices, or with ``out_max_val`` the values.  Of equal values the one with the higher index comes first.
    """

    param_field = "argmax_param"
    supported = frozenset({"out_max_val", "top_k", "axis"})
    in_place = False

    def configure(self) -> None:
        self.require(self.params.top_k > 0, "top_k must be positive", "top_k", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shape, p = bottoms[0], self.params
        self._axis: int | None = None
        if p.HasField("axis"):
            self._axis = self.canonical_axis(p.axis, len(shape), "axis", 0)
            self.require(p.top_k <= shape[self._axis], f"top_k of {shape[self._axis]} values", "top_k", 0)
            self._shape: Shape = (*shape[: self._axis], int(p.top_k), *shape[self._axis + 1 :])
        else:
            size = math.prod(shape[1:])
            self.require(p.top_k <= size, f"top_k of {size} values", "top_k", 0)
            self._shape = (shape[0], 2 if p.out_max_val else 1, int(p.top_k), *[1] * (len(shape) - 3))
        return [self._shape]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        y = self._places(bottoms[0].detach())
        return [no_gradient(y, bottoms[0], self.spec, "places have no gradient")]

    def _places(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(len(x), -1) if self._axis is None else x.movedim(self._axis, -1)
        size, k = rows.shape[-1], int(self.params.top_k)
        # in reversed order, a stable sort puts the higher index of equal values first
        values, order = rows.flip(-1).sort(dim=-1, descending=True, stable=True)
        values, places = values[..., :k], (size - 1 - order[..., :k]).to(x.dtype)
        if self._axis is not None:
            return (values if self.params.out_max_val else places).movedim(-1, self._axis)
        y = torch.stack([places, values], dim=1) if self.params.out_max_val else places
        return y.reshape(x.shape[0], *self._shape[1:])
