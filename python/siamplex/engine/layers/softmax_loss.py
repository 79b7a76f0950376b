"""SoftmaxWithLoss: multinomial logistic loss of softmax(x)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.layer import Context, Layer, Shape, register
from siamplex.schema.messages import enum_name

_TINY = float(torch.finfo(torch.float32).tiny)


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(Layer):
    """-sum log p[label] over samples, divided as ``normalization`` says; labels are (N, ...) floats.

    VALID (default) divides by samples not ignored, FULL by all, BATCH_SIZE by N, NONE by 1; never
    by less than 1.  ``normalize: false`` is the older spelling of BATCH_SIZE.
    """

    param_field = "softmax_param"
    supported = frozenset({"axis", "engine"})
    bottom_count = (2, 2)
    is_loss = True

    def extra_fields(self) -> frozenset[str]:
        return frozenset({"loss_param"})

    def configure(self) -> None:
        loss = self.spec.message.loss_param
        self._mode = enum_name(loss, "normalization")
        if not loss.HasField("normalization") and loss.HasField("normalize"):
            self._mode = "VALID" if loss.normalize else "BATCH_SIZE"
        self._ignored = int(loss.ignore_label) if loss.HasField("ignore_label") else None

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._axis = self.canonical_axis(self.params.axis, len(bottoms[0]), "axis", 0)
        samples = math.prod(bottoms[0]) // bottoms[0][self._axis]
        self.require(math.prod(bottoms[1]) == samples, f"{bottoms[1]} labels for {samples} samples")
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        scores = bottoms[0].movedim(self._axis, -1).reshape(-1, bottoms[0].shape[self._axis])
        labels = bottoms[1].reshape(-1).long()
        valid = torch.ones_like(labels, dtype=torch.bool)
        if self._ignored is not None:
            valid = labels != self._ignored
        classes = scores.shape[1]
        if valid.any() and not (int(labels[valid].min()) >= 0 and int(labels[valid].max()) < classes):
            raise self.spec.error(f"a label outside 0..{classes - 1}")
        chosen = torch.log_softmax(scores, dim=1)[valid].gather(1, labels[valid, None])
        total = -chosen.clamp(min=math.log(_TINY)).sum()
        divisor = {
            "VALID": int(valid.sum()),
            "FULL": labels.numel(),
            "BATCH_SIZE": bottoms[0].shape[0],
            "NONE": 1,
        }[self._mode]
        return [total / max(1, divisor)]
