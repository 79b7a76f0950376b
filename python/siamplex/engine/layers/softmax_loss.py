"""SoftmaxWithLoss: multinomial logistic loss of softmax(x)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.labels import LABELS, check_rows, labels_of
from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register
from siamplex.engine.net.normalizer import Normalizer

_TINY = float(torch.finfo(torch.float32).tiny)


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(Layer):
    """-sum log p[label] over samples, divided as ``normalization`` says; labels are (N, ...) floats.

    VALID (default) divides by samples not ignored, FULL by all, BATCH_SIZE by those before ``axis`` (N), NONE by 1;
    never by less than 1.  ``normalize: false`` is the older spelling of BATCH_SIZE.  A second top has the
    probabilities, in the bottom's shape; no gradient comes back from it.
    """

    param_field = "softmax_param"
    supported = frozenset({"axis", "engine"})
    bottom_count = (2, 2)
    top_count = (1, 2)
    is_loss = True
    in_place = False
    unforced = frozenset({1})

    def configure(self) -> None:
        self._normalizer = Normalizer(self.spec.message.loss_param)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._axis = self.canonical_axis(self.params.axis, len(bottoms[0]), "axis", 0)
        samples = math.prod(bottoms[0]) // bottoms[0][self._axis]
        check_rows(bottoms[0], bottoms[1], self.require)
        self.require(math.prod(bottoms[1]) == samples, f"{bottoms[1]} labels for {samples} samples")
        return [(), bottoms[0]][: max(1, len(self.spec.message.top))]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        scores = bottoms[0].movedim(self._axis, -1).reshape(-1, bottoms[0].shape[self._axis])
        labels = labels_of(bottoms[1], scores.shape[1], self.spec, self._normalizer.ignored)
        valid = self._normalizer.counted(labels)
        chosen = torch.log_softmax(scores, dim=1)[valid].gather(1, labels[valid, None])
        # the loss is bounded by the least positive float, the gradient is not cut off
        chosen = chosen + (chosen.clamp(min=math.log(_TINY)) - chosen).detach()
        loss = -chosen.sum() / self._normalizer(
            int(valid.sum()), labels.numel(), math.prod(bottoms[0].shape[: self._axis])
        )
        loss = no_gradient(loss, bottoms[1], self.spec, LABELS)
        if len(self.spec.message.top) < 2:
            return [loss]
        return [loss, torch.softmax(bottoms[0].detach(), dim=self._axis)]
