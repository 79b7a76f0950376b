"""MultinomialLogisticLoss: -log of the label's probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.four_axes import four_axes
from siamplex.engine.net.labels import LABELS, check_rows, labels_of
from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register

LEAST = 1e-20  # lower bound of a probability in the logarithm


class _Logistic(torch.autograd.Function):
    """The loss with Caffe's gradient, which is not cut to 0 at the least probability."""

    @staticmethod
    def forward(ctx: Any, p: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        chosen = p.gather(1, labels[:, None]).clamp(min=LEAST)
        ctx.save_for_backward(chosen, labels)
        ctx.shape = p.shape
        return -chosen.log().sum() / len(p)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        chosen, labels = ctx.saved_tensors
        slopes = chosen.new_zeros(ctx.shape)
        return slopes.scatter_(1, labels[:, None], -(grads[0] / len(chosen)) / chosen), None


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Layer):
    """1/N sum of -log p[label].  Bottoms: probabilities p (N, C, ...), each row flattened, and labels (N)."""

    bottom_count = (2, 2)
    is_loss = True
    in_place = False
    unforced = frozenset({1})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        rows = bottoms[0][0]
        for shape in bottoms:
            four_axes(shape, self.require)
        check_rows(bottoms[0], bottoms[1], self.require)
        self.require(math.prod(bottoms[1]) == rows, f"{bottoms[1]} labels for {rows} samples")
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        p = bottoms[0].reshape(len(bottoms[0]), -1)
        loss = _Logistic.apply(p, labels_of(bottoms[1], p.shape[1], self.spec))
        return [no_gradient(loss, bottoms[1], self.spec, LABELS)]
