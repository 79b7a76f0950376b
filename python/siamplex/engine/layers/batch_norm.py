"""BatchNorm: subtract each channel's mean and divide by its standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, filler, register


class _Normalise(torch.autograd.Function):
    """(x - mean) / deviation with the batch's own statistics; the gradient includes their dependence on x."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        axes = _all_but_channels(x)
        mean = x.mean(dim=axes)
        centred = x - _along_channels(mean, x)
        variance = centred.square().mean(dim=axes)
        deviation = (variance + eps).sqrt()
        y = centred.div_(_along_channels(deviation, x))
        ctx.kept = y.clone(), deviation
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        y, deviation = ctx.kept
        dy, axes = grads[0], _all_but_channels(y)
        shift = dy.mean(dim=axes)
        slope = (dy * y).mean(dim=axes)
        dx = dy - _along_channels(shift, y) - _along_channels(slope, y) * y
        return dx / _along_channels(deviation, y), None


def _all_but_channels(x: torch.Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1] if x.dim() > 1 else [0]


def _along_channels(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Values (C,) reshaped to broadcast to x (N, C, ...); x (N,) has a single channel."""
    return values.reshape(1, -1, *[1] * (x.dim() - 2)) if x.dim() > 1 else values


@register("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps) for each channel of (N, C, ...); a Scale after it learns factor and shift.

    TRAIN uses the batch's statistics, TEST the stored ones; ``use_global_stats`` sets the choice for both phases.
    Blobs 0 and 1 (C,) are running sums of means and variances: f times the old sum plus the new value, f being
    ``moving_average_fraction``.  Blob 2 (1,) is the same running sum of ones; the stored statistics are blobs 0 and 1
    divided by it.  The stored variance is the unbiased one (over m - 1 values).
    """

    param_field = "batch_norm_param"
    supported = frozenset({"use_global_stats", "moving_average_fraction", "eps"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.require(bool(bottoms[0]), "expected a (N[, C, ...]) bottom, found a single number")
        channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
        zero = filler()
        self.blobs = [BlobSpec(shape, zero, learns=False) for shape in ((channels,), (channels,), (1,))]
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x, (means, variances, weight) = bottoms[0], params
        p = self.params
        if p.use_global_stats if p.HasField("use_global_stats") else not context.train:
            share = 0.0 if float(weight) == 0 else 1.0 / float(weight)
            deviation = (variances.detach() * share + p.eps).sqrt()
            return [(x - _along_channels(means.detach() * share, x)) / _along_channels(deviation, x)]
        y, mean, variance = _Normalise.apply(x, float(p.eps))
        count = x.numel() // means.numel()
        with torch.no_grad():
            f = float(p.moving_average_fraction)
            weight.mul_(f).add_(1)
            means.mul_(f).add_(mean)
            variances.mul_(f).add_(variance, alpha=count / (count - 1) if count > 1 else 1.0)
        return [y]
