"""SigmoidCrossEntropyLoss: the logistic loss of independent targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register
from siamplex.engine.net.normalizer import Normalizer


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor, divisor: int) -> torch.Tensor:
        terms = x * (targets - (x >= 0).to(x.dtype)) - (-x.abs()).exp().log1p()
        ctx.save_for_backward(x, targets, counted)
        ctx.divisor = divisor
        return -torch.where(counted, terms, 0).sum() / divisor

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, targets, counted = ctx.saved_tensors
        return torch.where(counted, torch.sigmoid(x) - targets, 0) * (grads[0] / ctx.divisor), None, None, None


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Layer):
    """-sum of t log s(x) + (1 - t) log(1 - s(x)) over scores x and targets t (both N, ...), s the sigmoid.

    The sum is divided by N unless ``normalization`` says otherwise.  A target whose integer part is ``ignore_label``
    is left out.
    """

    bottom_count = (2, 2)
    is_loss = True
    in_place = False
    unforced = frozenset({1})

    def configure(self) -> None:
        self._normalizer = Normalizer(self.spec.message.loss_param, default="BATCH_SIZE")

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        same = bottoms[0][:1] == bottoms[1][:1] and math.prod(bottoms[0]) == math.prod(bottoms[1])
        self.require(same, f"bottoms of shapes {bottoms[0]} and {bottoms[1]}")
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0]
        targets = bottoms[1].detach().reshape(x.shape).to(x.dtype)
        counted = self._normalizer.counted(targets.trunc().long())
        divisor = self._normalizer(int(counted.sum()), x.numel(), x.shape[0])
        loss = _CrossEntropy.apply(x, targets, counted, divisor)
        return [no_gradient(loss, bottoms[1], self.spec, "its targets have no gradient")]
