"""InfogainLoss: the multinomial logistic loss of a softmax, with terms weighted by an infogain matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from siamplex.engine.net.labels import check_rows, labels_of
from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register
from siamplex.engine.net.normalizer import Normalizer
from siamplex.schema.weights import read_mean_file

_LEAST = 1e-20  # lower bound of a probability in the logarithm


class _Infogain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: torch.Tensor, divisor: int) -> torch.Tensor:
        p = torch.softmax(x, dim=1)
        ctx.save_for_backward(p, rows)
        ctx.divisor = divisor
        return -(rows * p.clamp(min=_LEAST).log()).sum() / divisor

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        p, rows = ctx.saved_tensors
        return (p * rows.sum(dim=1, keepdim=True) - rows) * (grads[0] / ctx.divisor), None, None


@register("InfogainLoss")
class InfogainLoss(Layer):
    """-sum over samples and classes k of H[label, k] log softmax(x)[k], divided as ``normalization`` says.

    Bottoms: scores x along ``axis``, labels, and H (C, C) under any
    shape, unless ``source`` names a mean file with H.  A second top
    has the probabilities, without a gradient.
    """

    param_field = "infogain_loss_param"
    supported = frozenset({"source", "axis"})
    bottom_count = (2, 3)
    top_count = (1, 2)
    is_loss = True
    in_place = False
    unforced = frozenset({1})

    def configure(self) -> None:
        loss = self.spec.message.loss_param
        if loss.HasField("normalize"):
            what = "normalize is too old for this layer: use normalization"
            raise self.spec.error(what, "loss_param", 0, "normalize", 0)
        self._normalizer = Normalizer(loss)
        self._matrix: torch.Tensor | None = None
        if len(self.spec.message.bottom) < 3:
            self.require(bool(self.params.source), "source is missing, and there is no third bottom")
            array = read_mean_file(self.spec.source.find(self.params.source))
            self._matrix = torch.from_numpy(np.array(array)).reshape(array.shape[-2:])

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._axis = self.canonical_axis(self.params.axis, len(bottoms[0]), "axis", 0)
        classes = bottoms[0][self._axis]
        samples = math.prod(bottoms[0]) // classes
        check_rows(bottoms[0], bottoms[1], self.require)
        self.require(math.prod(bottoms[1]) == samples, f"{bottoms[1]} labels for {samples} samples")
        given = bottoms[2] if self._matrix is None else tuple(self._matrix.shape)
        self.require(math.prod(given) == classes * classes, f"a matrix of {given} for {classes} classes")
        return [(), bottoms[0]][: max(1, len(self.spec.message.top))]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        classes = bottoms[0].shape[self._axis]
        x = bottoms[0].movedim(self._axis, -1).reshape(-1, classes)
        labels = labels_of(bottoms[1], classes, self.spec, self._normalizer.ignored)
        if self._matrix is None:
            matrix = bottoms[2].detach().reshape(classes, classes)
        else:
            matrix = self._matrix.to(x)
        valid = self._normalizer.counted(labels)
        rows = matrix[torch.where(valid, labels, 0)] * valid[:, None]
        before = math.prod(bottoms[0].shape[: self._axis])
        divisor = self._normalizer(int(valid.sum()), labels.numel(), before)
        loss = _Infogain.apply(x, rows, divisor)
        for other in bottoms[1:]:
            loss = no_gradient(loss, other, self.spec, "its labels and matrix have no gradient")
        if len(self.spec.message.top) < 2:
            return [loss]
        return [loss, torch.softmax(bottoms[0].detach(), dim=self._axis)]
