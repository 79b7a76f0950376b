"""HingeLoss: one-versus-all hinge loss of class scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.four_axes import four_axes
from siamplex.engine.net.labels import LABELS, check_rows, labels_of
from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register
from siamplex.schema.messages import enum_name


class _Hinge(torch.autograd.Function):
    """The loss with Caffe's gradient, which is 0 at a margin of exactly 0."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, labels: torch.Tensor, squared: bool) -> torch.Tensor:
        signs = torch.ones_like(x)
        signs.scatter_(1, labels[:, None], -1.0)
        margins = (1 + signs * x).clamp(min=0)
        ctx.save_for_backward(signs, margins)
        ctx.squared = squared
        return (margins.square() if squared else margins).sum() / len(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        signs, margins = ctx.saved_tensors
        slopes = 2 * margins if ctx.squared else margins.sign()
        return slopes * signs * (grads[0] / len(signs)), None, None


@register("HingeLoss")
class HingeLoss(Layer):
    """1/N sum of max(0, 1 + s x), s = -1 for the label's score and 1 for the others; with norm L2 each term is squared.

    Bottoms: scores (N, C, ...), each row flattened, and labels (N).
    """

    param_field = "hinge_loss_param"
    supported = frozenset({"norm"})
    bottom_count = (2, 2)
    is_loss = True
    in_place = False
    unforced = frozenset({1})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        rows = bottoms[0][0]
        four_axes(bottoms[0], self.require)
        check_rows(bottoms[0], bottoms[1], self.require)
        self.require(math.prod(bottoms[1]) == rows, f"{bottoms[1]} labels for {rows} samples")
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0].reshape(len(bottoms[0]), -1)
        labels = labels_of(bottoms[1], x.shape[1], self.spec)
        loss = _Hinge.apply(x, labels, enum_name(self.params, "norm") == "L2")
        return [no_gradient(loss, bottoms[1], self.spec, LABELS)]
