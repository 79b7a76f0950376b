"""Reading class labels, which Caffe stores as floats, as integers."""

from __future__ import annotations

import torch

from siamplex.engine.net.layer import LayerSpec

LABELS = "its labels have no gradient"


def labels_of(bottom: torch.Tensor, classes: int, spec: LayerSpec, ignored: int | None = None) -> torch.Tensor:
    """A bottom as int64 labels (count,); raises PrototxtError for one that is neither below ``classes`` nor ignored."""
    labels = bottom.detach().reshape(-1).long()
    valid = labels if ignored is None else labels[labels != ignored]
    if valid.numel() and not (int(valid.min()) >= 0 and int(valid.max()) < classes):
        raise spec.error(f"a label outside 0..{classes - 1}")
    return labels
