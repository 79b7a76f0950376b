"""LRN: local response normalisation, across channels or within each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from siamplex.engine.net.layer import Context, Layer, Shape, register
from siamplex.schema.messages import enum_name


def window_sum(x: torch.Tensor, size: int, out: torch.Tensor) -> torch.Tensor:
    """Sum of ``x`` (C, ...) over ``size`` neighbouring channels, edges clipped, into ``out``."""
    channels, half = x.shape[0], size // 2
    out.copy_(x)
    for offset in range(1, min(half, channels - 1) + 1):
        out[:-offset] += x[offset:]
        out[offset:] += x[:-offset]
    return out


def negative_power(scale: torch.Tensor, beta: float) -> torch.Tensor:
    """scale^-beta; for the usual beta of 0.75 by square roots, since a general power is several times slower."""
    if beta == 0.75:
        root = scale.rsqrt()
        return root.mul_(root.sqrt())
    return scale.pow(-beta)


def _format(x: torch.Tensor) -> torch.memory_format:
    """The memory format of (N, C, H, W): channels last or contiguous."""
    apart = x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last)
    return torch.contiguous_format if apart else torch.channels_last


class _AcrossChannels(torch.autograd.Function):
    """Forward and backward image by image, so that temporaries stay in the processor's cache."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, size: int, alpha: float, beta: float, k: float, whole: bool) -> torch.Tensor:
        x = x.contiguous(memory_format=_format(x))
        scale, y = torch.empty_like(x), torch.empty_like(x)
        for image, s, out in zip(x.unbind(), scale.unbind(), y.unbind(), strict=True):
            window_sum(image * image, size, s).mul_(alpha / size).add_(k)
            torch.mul(image, negative_power(s, beta), out=out)
        # y is x scale^-beta again, unless a layer behind writes over it and Caffe would read that
        ctx.save_for_backward(x, scale, *([y] if whole else []))
        ctx.settings = size, alpha, beta
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, scale, *top = ctx.saved_tensors
        size, alpha, beta = ctx.settings
        dy = grads[0].contiguous(memory_format=_format(x))
        dx = torch.empty_like(x)
        sums = torch.empty_like(x[0])
        for n, (image, s, g, out) in enumerate(zip(x.unbind(), scale.unbind(), dy.unbind(), dx.unbind(), strict=True)):
            torch.mul(g, negative_power(s, beta), out=out)  # dy * s^-beta
            ratio = (g * top[0][n] if top else out * image).div_(s)  # dy * y / s
            window_sum(ratio, size, sums).mul_(image)
            out.sub_(sums, alpha=2.0 * alpha * beta / size)
        return dx, None, None, None, None, None


@register("LRN")
class LRN(Layer):
    """y = x / (k + alpha / n * sum of x^2 over n = local_size neighbouring channels)^beta.

    The shape (N, C, H, W) does not change.  Alpha is divided by n, as in torch's LocalResponseNorm; some
    ports multiply by alpha alone.  WITHIN_CHANNEL: y = x (1 + alpha * mean of x^2 over local_size by
    local_size pixels, zeros beyond the edge)^-beta, without k.
    """

    param_field = "lrn_param"
    supported = frozenset("local_size alpha beta norm_region k engine".split())
    per_sample = True
    why_not_in_place = "Caffe overwrites its bottom before it has read it"

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"bottom"} if self._within else {"bottom", "top"})

    @property
    def in_place(self) -> bool:  # type: ignore[override]
        return self._is_within()

    def _is_within(self) -> bool:
        return enum_name(self.params, "norm_region") == "WITHIN_CHANNEL"

    def configure(self) -> None:
        size = int(self.params.local_size)
        self.require(size % 2 == 1, f"local_size {size} is not odd", "local_size", 0)
        self._within = self._is_within()

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.require(len(bottoms[0]) == 4, f"expected a (N, C, H, W) bottom, found {bottoms[0]}")
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        p = self.params
        if self._within:
            return [self._within_channel(bottoms[0])]
        return [
            _AcrossChannels.apply(
                bottoms[0], int(p.local_size), float(p.alpha), float(p.beta), float(p.k), bool(self.overwritten)
            )
        ]

    def _within_channel(self, x: torch.Tensor) -> torch.Tensor:
        size, p = int(self.params.local_size), self.params
        mean = functional.avg_pool2d(x * x, size, stride=1, padding=size // 2)
        return x * (mean * float(p.alpha) + 1).pow(-float(p.beta))
