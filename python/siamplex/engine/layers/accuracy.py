"""Accuracy: the share of samples whose label is among the top_k scores, overall and for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, no_gradient, register


@register("Accuracy")
class Accuracy(Layer):
    """The first top is a scalar, a second top (C,) the accuracy of each class; 0 for a class without samples.

    Samples labelled ``ignore_label`` are left out.  With ``top_k: 0`` it is 0.  There is no gradient.
    """

    param_field = "accuracy_param"
    supported = frozenset({"top_k", "axis", "ignore_label"})
    in_place = False
    bottom_count = (2, 2)
    top_count = (1, 2)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self._axis = self.canonical_axis(self.params.axis, len(bottoms[0]), "axis", 0)
        classes = bottoms[0][self._axis]
        samples = math.prod(bottoms[0]) // classes
        self.require(self.params.top_k <= classes, f"top_k of {classes} classes", "top_k", 0)
        self.require(math.prod(bottoms[1]) == samples, f"{bottoms[1]} labels for {samples} samples")
        return [(), (classes,)][: len(self.spec.message.top)]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        scores = bottoms[0].detach().movedim(self._axis, -1).reshape(-1, bottoms[0].shape[self._axis])
        labels = bottoms[1].reshape(-1).long()
        if self.params.HasField("ignore_label"):
            valid = labels != self.params.ignore_label
            scores, labels = scores[valid], labels[valid]
        if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < scores.shape[1]):
            raise self.spec.error(f"a label outside 0..{scores.shape[1] - 1}")
        # Caffe counts a sample when fewer than top_k others reach its label's score: ties count
        # against it
        own = scores.gather(1, labels[:, None])
        better = (scores >= own).sum(dim=1) - 1
        hits = (better < self.params.top_k).float()
        whole = no_gradient(hits.sum() / max(1, labels.numel()), bottoms[0], self.spec, "an accuracy has no gradient")
        if len(self.spec.message.top) == 1:
            return [whole]
        counts = torch.bincount(labels, minlength=scores.shape[1])
        by_class = torch.zeros_like(counts, dtype=hits.dtype).index_add_(0, labels, hits)
        return [whole, by_class / counts.clamp(min=1)]
