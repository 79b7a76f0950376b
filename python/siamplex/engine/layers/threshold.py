"""Threshold: 1 where x > threshold, 0 elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register


@register("Threshold")
class Threshold(Layer):
    """Any shape; has no gradient."""

    param_field = "threshold_param"
    supported = frozenset({"threshold"})
    per_sample = True

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0]
        y = (x.detach() > self.params.threshold).to(x.dtype)
        return [no_gradient(y, x, self.spec, "a threshold has no gradient")]
