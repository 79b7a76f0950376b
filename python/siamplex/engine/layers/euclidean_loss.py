"""EuclideanLoss: half the mean squared distance between two bottoms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.four_axes import four_axes
from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register


@register("EuclideanLoss")
class EuclideanLoss(Layer):
    """1/(2N) sum of (a - b)^2 for bottoms a and b with N rows of equal length; both get a gradient."""

    bottom_count = (2, 2)
    is_loss = True
    in_place = False

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        first, second = bottoms
        four_axes(first, self.require)
        same = bool(first) and first[:1] == second[:1] and math.prod(first[1:]) == math.prod(second[1:])
        self.require(same, f"bottoms of shapes {first} and {second}")
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        first, second = bottoms
        difference = (first - second.reshape(first.shape)).reshape(-1)
        loss = difference.dot(difference) / first.shape[0] / 2
        return [loss if second.dim() <= 4 else no_gradient(loss, second, self.spec, "no gradient for five axes")]
