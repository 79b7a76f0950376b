"""Reading class labels, which Caffe stores as floats, as integers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from siamplex.engine.net.layer import LayerSpec, Shape

LABELS = "its labels have no gradient"


def check_rows(scores: Shape, labels: Shape, require: Callable[..., None]) -> None:
    """Refuse labels whose first axis is not that of the scores, as Caffe's losses do."""
    what = f"scores {scores} and labels {labels} with another first axis: put a Reshape before"
    require(bool(labels) and scores[:1] == labels[:1], what)


def labels_of(bottom: torch.Tensor, classes: int, spec: LayerSpec, ignored: int | None = None) -> torch.Tensor:
    """A bottom as int64 labels (count,); raises PrototxtError for one that is neither below ``classes`` nor ignored."""
    labels = bottom.detach().reshape(-1).long()
    valid = labels if ignored is None else labels[labels != ignored]
    if valid.numel() and not (int(valid.min()) >= 0 and int(valid.max()) < classes):
        raise spec.error(f"a label outside 0..{classes - 1}")
    return labels
