"""Power: y = (shift + scale x)^power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


class _Power(torch.autograd.Function):
    """The layer with Caffe's gradient, which uses y / x where the shift is 0: NaN at x = 0.

    In place Caffe writes the slope over the top's gradient before it multiplies by that.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, power: float, scale: float, shift: float, in_place: bool) -> torch.Tensor:
        y = (x * scale + shift if shift else x * scale).pow(power)
        ctx.save_for_backward(x, y)
        ctx.settings = power, scale, shift
        ctx.in_place = in_place
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, y = ctx.saved_tensors
        power, scale, shift = ctx.settings
        if power == 1:
            slope = torch.full_like(x, scale)
        elif power == 2:
            slope = x * (power * scale * scale) + power * scale * shift
        elif shift == 0:
            slope = y / x * power
        else:
            slope = y / (x * scale + shift) * (power * scale)
        return (slope if ctx.in_place else grads[0]) * slope, None, None, None, None


def _power_of(base: float, power: float) -> float:
    """base^power as C computes it: infinite for 0^-1, NaN for the root of a negative number."""
    return float(torch.tensor(base).pow(power))


@register("Power")
class Power(Layer):
    """Any shape.  A power or scale of 0 gives a constant, without gradient.

    In place the gradient is, as in Caffe, the square of the slope, whatever comes from behind.
    """

    param_field = "power_param"
    supported = frozenset({"power", "scale", "shift"})
    per_sample = True

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        power = self.params.power
        if power in (0, 1) or self.params.scale == 0:
            return frozenset()
        return frozenset({"bottom"} if power == 2 else {"bottom", "top"})

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x, p = bottoms[0], self.params
        power, scale, shift = float(p.power), float(p.scale), float(p.shift)
        if power * scale == 0:
            return [torch.full_like(x, _power_of(shift, power))]
        in_place = self.spec.in_place
        if power == 1 and not (in_place and x.requires_grad):
            return [x * scale + shift if shift else x * scale]
        return [_Power.apply(x, power, scale, shift, in_place)]
