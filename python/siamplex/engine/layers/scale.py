"""Scale: multiply by an array along some axes, learned or a second bottom, and optionally add a bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.broadcasts import along, own_shape
from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, filler, register


@register("Scale")
class Scale(Layer):
    """y = x s (+ b): s is the second bottom, or is learned and covers ``num_axes`` axes from ``axis`` on.

    By default s is (C,) for x (N, C, ...).  s starts at 1, b (with ``bias_term``) at 0.
    """

    param_field = "scale_param"
    supported = frozenset({"axis", "num_axes", "filler", "bias_term", "bias_filler"})
    bottom_count = (1, 2)
    backward_reads = frozenset({"bottom"})
    own_bottom = "copied"

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        alone = len(self.spec.message.bottom) == 1
        return self._axis >= 1 if alone else self._meets[0] > 1 and self._axis == 0

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p, bottom = self.params, bottoms[0]
        scalar = len(bottoms) == 2 and not bottoms[1]
        self._axis = 0 if scalar and not p.bias_term else self.canonical_axis(p.axis, len(bottom), "axis", 0)
        if len(bottoms) == 2:
            shape = bottoms[1]
        else:
            shape = own_shape(bottom, self._axis, int(p.num_axes), self.require)
            self.blobs = [BlobSpec(shape, p.filler if p.HasField("filler") else filler(value=1))]
        self._axis = 0 if scalar else self._axis
        self._meets = along(bottom, shape, self._axis, self.require)
        if p.bias_term:
            self.blobs.append(BlobSpec(shape, p.bias_filler))
        return [bottom]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        factors = bottoms[1] if len(bottoms) == 2 else params[0]
        y = bottoms[0] * factors.reshape(self._meets)
        return [y + params[-1].reshape(self._meets) if self.params.bias_term else y]
