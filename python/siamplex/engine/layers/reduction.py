"""Reduction: sum, sum of magnitudes, sum of squares or mean over the last axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register
from siamplex.schema.messages import enum_name


@register("Reduction")
class Reduction(Layer):
    """(d0, ..., d(axis - 1), ...) -> (d0, ..., d(axis - 1)), times ``coeff``; axis 0 gives a scalar."""

    param_field = "reduction_param"
    supported = frozenset({"operation", "axis", "coeff"})
    in_place = False

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"bottom"} if self._operation in ("ASUM", "SUMSQ") else ())

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return self._axis >= 1

    def configure(self) -> None:
        self._operation = enum_name(self.params, "operation")

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._axis = self.canonical_axis(self.params.axis, len(bottoms[0]), "axis", 0)
        return [bottoms[0][: self._axis]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0].flatten(self._axis)
        if self._operation == "ASUM":
            x = x.abs()
        elif self._operation == "SUMSQ":
            x = x * x
        total = x.mean(dim=-1) if self._operation == "MEAN" else x.sum(dim=-1)
        coeff = float(self.params.coeff)
        return [total if coeff == 1 else total * coeff]
