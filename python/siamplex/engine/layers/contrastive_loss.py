"""ContrastiveLoss: pulls similar pairs together, pushes others apart up to a margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.layer import Context, Layer, Shape, register

# Caffe adds this to the distance it divides by in the backward pass, and only there
_NEAR_ZERO = 1e-4


class _Contrastive(torch.autograd.Function):
    """Loss and Caffe's own gradient, which plain autograd does not give near distance 0."""

    @staticmethod
    def forward(
        ctx: Any,
        a: torch.Tensor,  # (N, D)
        b: torch.Tensor,  # (N, D)
        similar: torch.Tensor,  # (N,) bool
        margin: float,
        legacy: bool,
    ) -> torch.Tensor:
        diff = a - b
        squared = (diff * diff).sum(dim=1)  # (N,)
        if legacy:
            gap = margin - squared
            apart = gap.clamp(min=0)
        else:
            gap = margin - squared.sqrt()
            apart = gap.clamp(min=0).square()
        ctx.save_for_backward(diff, squared, gap, similar)
        ctx.legacy = legacy
        return torch.where(similar, squared, apart).sum() / (2 * a.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        diff, squared, gap, similar = ctx.saved_tensors
        if ctx.legacy:
            push = -torch.ones_like(gap)
        else:
            push = -gap / (squared.sqrt() + _NEAR_ZERO)
        push = torch.where(gap > 0, push, torch.zeros_like(push))
        factor = torch.where(similar, torch.ones_like(push), push)
        grad = diff * (factor * (grads[0] / diff.shape[0]))[:, None]
        return grad, -grad, None, None, None


@register("ContrastiveLoss")
class ContrastiveLoss(Layer):
    """1/(2N) sum of y d^2 + (1 - y) max(margin - d, 0)^2 over N pairs, d their distance.

    Bottoms: two (N, D[, 1, 1]) embeddings and (N) labels, 1 meaning similar (the paper's Y is the
    reverse).  ``legacy_version`` pushes by max(margin - d^2, 0), as Caffe before 2014 did.
    """

    param_field = "contrastive_loss_param"
    supported = frozenset({"margin", "legacy_version"})
    bottom_count = (3, 3)
    is_loss = True

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        first, second, labels = bottoms
        self.require(first == second, f"embeddings of shapes {first} and {second}")
        flat = len(first) >= 2 and math.prod(first[2:]) == 1
        self.require(flat, f"expected (N, D) embeddings, found {first}")
        self.require(math.prod(labels) == first[0], f"{labels} labels for {first[0]} pairs")
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        first, second = (x.reshape(x.shape[0], -1).float() for x in bottoms[:2])
        similar = bottoms[2].reshape(-1).long() != 0
        return [_Contrastive.apply(first, second, similar, float(self.params.margin), bool(self.params.legacy_version))]
