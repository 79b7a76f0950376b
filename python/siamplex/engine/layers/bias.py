"""Bias: add an array along some axes; the array is learned or a second bottom."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.broadcasts import along, own_shape
from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, register


@register("Bias")
class Bias(Layer):
    """y = x + b: b is the second bottom, or is learned and covers ``num_axes`` axes from ``axis`` on.

    By default b is (C,) for x (N, C, ...) and starts at 0.
    """

    param_field = "bias_param"
    supported = frozenset({"axis", "num_axes", "filler"})
    bottom_count = (1, 2)

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        alone = len(self.spec.message.bottom) == 1
        return self._axis >= 1 if alone else self._meets[0] > 1 and self._axis == 0

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p, bottom = self.params, bottoms[0]
        scalar = len(bottoms) == 2 and not bottoms[1]
        self._axis = 0 if scalar else self.canonical_axis(p.axis, len(bottom), "axis", 0)
        if len(bottoms) == 2:
            shape = bottoms[1]
        else:
            shape = own_shape(bottom, self._axis, int(p.num_axes), self.require)
            self.blobs = [BlobSpec(shape, p.filler)]
        self._meets = along(bottom, shape, self._axis, self.require)
        return [bottom]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [bottoms[0] + (bottoms[1] if len(bottoms) == 2 else params[0]).reshape(self._meets)]
