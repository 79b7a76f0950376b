"""The divisor of a loss: Caffe's loss_param."""

from __future__ import annotations

from typing import Any

import torch

from siamplex.schema.messages import enum_name


class Normalizer:
    """A loss_param's ignore_label and normalization; ``default`` is the normalization where it sets none.

    VALID divides by the number of labels that are not ignored, FULL by the number of all labels, BATCH_SIZE by the
    number of samples, NONE by 1; never by less than 1.  The older field ``normalize`` means VALID or, if false,
    BATCH_SIZE.
    """

    def __init__(self, loss: Any, default: str = "VALID") -> None:
        self.mode = enum_name(loss, "normalization") if loss.HasField("normalization") else default
        if not loss.HasField("normalization") and loss.HasField("normalize"):
            self.mode = "VALID" if loss.normalize else "BATCH_SIZE"
        self.ignored = int(loss.ignore_label) if loss.HasField("ignore_label") else None

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        """Which integer labels are not ignored: bool, of their shape."""
        return torch.ones_like(labels, dtype=torch.bool) if self.ignored is None else labels != self.ignored

    def __call__(self, valid: int, labels: int, samples: int) -> int:
        """The divisor for ``valid`` labels that are not ignored, ``labels`` in all, and ``samples``."""
        return max(1, {"VALID": valid, "FULL": labels, "BATCH_SIZE": samples, "NONE": 1}[self.mode])
