"""TripletLoss: an anchor is to lie nearer to a positive than to a negative, by a margin."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.layer_api import Context, Fields, Layer, Shape


class TripletLoss(Layer):
    """sum over n of max(0, |a_n - p_n|^2 - |a_n - n_n|^2 + margin) / 2N, after Schroff et al. (FaceNet, 2015).

    Bottoms: anchors, positives, negatives, each (N, ...) of one shape.  Top: the loss, one value.  2N is also
    what Caffe's ContrastiveLoss divides by.
    """

    declares = Fields("triplet_loss_param", ["float margin 1 1.0"])
    bottom_count = (3, 3)
    is_loss = True

    def configure(self) -> None:
        self.require(self.params.margin >= 0, f"margin {self.params.margin:g} is negative", "margin", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        if not bottoms[0] or len(set(bottoms)) > 1:
            raise self.spec.error(
                f"expected three bottoms of one shape, found {', '.join(map(str, bottoms))}", "bottom", 0
            )
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        anchor, positive, negative = (bottom.flatten(1) for bottom in bottoms)
        near = (anchor - positive).square().sum(dim=1)
        far = (anchor - negative).square().sum(dim=1)
        return [(near - far + self.params.margin).clamp(min=0).sum() / (2 * len(anchor))]
