"""ContrastiveLoss: pulls similar pairs together and pushes dissimilar pairs apart up to a margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from siamplex.engine.net.four_axes import four_axes
from siamplex.engine.net.layer import Context, Layer, Shape, register

# Caffe adds this to the distance it divides by in the backward pass, and only there
_NEAR_ZERO = 1e-4
_SMALL = 1 << 14  # values of an embedding up to which numpy is faster


def _push(gap: Any, distance: Any, legacy: bool, zero: Any) -> Any:
    """The factor of a dissimilar pair's difference a - b in the gradient."""
    return (gap > 0) * (zero - 1 if legacy else -gap / (distance + _NEAR_ZERO))


class _Contrastive(torch.autograd.Function):
    """The loss with Caffe's gradient, which differs from autograd's near distance 0."""

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
        distance = squared.sqrt()
        gap = margin - (squared if legacy else distance)
        apart = gap.clamp(min=0)
        apart = apart if legacy else apart.square()
        ctx.save_for_backward(diff, gap, distance, similar)
        ctx.legacy = legacy
        return torch.where(similar, squared, apart).sum() / (2 * a.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        diff, gap, distance, similar = ctx.saved_tensors
        factor = torch.where(similar, 1.0, _push(gap, distance, ctx.legacy, torch.zeros_like(gap)))
        grad = diff * (factor * (grads[0] / diff.shape[0]))[:, None]
        return grad, -grad, None, None, None


class _SmallContrastive(torch.autograd.Function):
    """The same in numpy on the CPU: for few pairs torch's overhead would dominate."""

    @staticmethod
    def forward(
        ctx: Any, a: torch.Tensor, b: torch.Tensor, labels: torch.Tensor, margin: float, legacy: bool
    ) -> torch.Tensor:
        diff = a.detach().numpy() - b.detach().numpy()
        with np.errstate(over="ignore"):  # a diverging run: infinite, as in torch
            squared = (diff * diff).sum(axis=1)
        distance = np.sqrt(squared)
        gap = np.float32(margin) - (squared if legacy else distance)
        apart = np.maximum(gap, np.float32(0))
        alike = labels.detach().numpy().reshape(-1).astype(np.int64) != 0
        ctx.arrays = diff, gap, distance, alike
        ctx.legacy = legacy
        loss = np.where(alike, squared, apart if legacy else apart * apart).sum() / np.float32(2 * len(diff))
        return torch.from_numpy(np.asarray(loss))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        diff, gap, distance, alike = ctx.arrays
        share = np.float32(float(grads[0]) / len(diff))
        with np.errstate(over="ignore", invalid="ignore"):  # infinite differences, as above
            factor = np.where(alike, np.float32(1), _push(gap, distance, ctx.legacy, np.zeros_like(gap)))
            grad = torch.from_numpy(diff * (factor * share)[:, None])
        return grad, -grad, None, None, None


@register("ContrastiveLoss")
class ContrastiveLoss(Layer):
    """1/(2N) sum of y d^2 + (1 - y) max(margin - d, 0)^2 over N pairs, where d is the pair's Euclidean distance.

    Bottoms: two (N, D[, 1, 1]) embeddings and (N) labels y, 1 for similar pairs (the paper's Y is the
    reverse); one embedding may have the axes of size 1 that the other has not.  With ``legacy_version`` a dissimilar
    pair's term is max(margin - d^2, 0), as in Caffe before 2014.
    """

    param_field = "contrastive_loss_param"
    supported = frozenset({"margin", "legacy_version"})
    bottom_count = (3, 3)
    is_loss = True
    in_place = False
    unforced = frozenset({2})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        first, second, labels = bottoms
        for shape in (first, second):
            _, _, *spatial = four_axes(shape, self.require)
            self.require(bool(shape) and spatial == [1, 1], f"expected (N, D) embeddings, found {shape}")
        same = four_axes(first, self.require) == four_axes(second, self.require)
        self.require(same, f"embeddings of shapes {first} and {second}")
        four_axes(labels, self.require)
        self.require(math.prod(labels) == first[0], f"{labels} labels for {first[0]} pairs")
        return [()]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        first, second = (x.reshape(x.shape[0], -1).float() for x in bottoms[:2])
        margin, legacy = float(self.params.margin), bool(self.params.legacy_version)
        if first.device.type == "cpu" and first.numel() <= _SMALL:
            return [_SmallContrastive.apply(first, second, bottoms[2], margin, legacy)]
        similar = bottoms[2].reshape(-1).long() != 0
        return [_Contrastive.apply(first, second, similar, margin, legacy)]
