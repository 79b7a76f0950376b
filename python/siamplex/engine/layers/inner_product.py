"""InnerProduct: a fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, register


@register("InnerProduct")
class InnerProduct(Layer):
    """y = x W^T + b with the axes from ``axis`` on flattened to K values: (N, ...) -> (N, num_output).

    Weight is (num_output, K), or (K, num_output) with ``transpose``; bias (num_output).
    """

    param_field = "inner_product_param"
    supported = frozenset("num_output bias_term weight_filler bias_filler axis transpose".split())
    in_place = False

    backward_reads = frozenset({"bottom"})

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        return int(self.params.axis) >= 1

    @property
    def takes_factors(self) -> bool:  # type: ignore[override]
        """Whether its weight's gradient can be kept as factors: it is a plain product of rows and weight."""
        return not self.params.transpose and int(self.params.axis) == 1

    def configure(self) -> None:
        self.require(self.params.num_output > 0, "num_output must be positive", "num_output", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._axis = self.canonical_axis(self.params.axis, len(bottoms[0]), "axis", 0)
        size, out = math.prod(bottoms[0][self._axis :]), int(self.params.num_output)
        weight = (size, out) if self.params.transpose else (out, size)
        self.blobs = [BlobSpec(weight, self.params.weight_filler)]
        if self.params.bias_term:
            self.blobs.append(BlobSpec((out,), self.params.bias_filler))
        return [(*bottoms[0][: self._axis], out)]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0].flatten(self._axis)
        weight = params[0].t() if self.params.transpose else params[0]
        bias = params[1] if len(params) > 1 else None
        plain = x.dim() == 2 and not self.overwritten and not torch.is_autocast_enabled(x.device.type)
        if context.kernels and plain:
            return [context.kernels.linear(x, weight, bias, self.takes_factors)]
        return [functional.linear(x, weight, bias)]
