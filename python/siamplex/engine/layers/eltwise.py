"""Eltwise: the elementwise product, weighted sum or maximum of bottoms with the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register
from siamplex.schema.messages import enum_name


class _Product(torch.autograd.Function):
    """The product; a factor's gradient uses the product of the others if ``stable``, else y / x."""

    @staticmethod
    def forward(ctx: Any, stable: bool, *factors: torch.Tensor) -> torch.Tensor:
        y = factors[0] * factors[1]
        for x in factors[2:]:
            y = y * x
        ctx.stable = stable
        ctx.save_for_backward(y, *factors)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        y, *factors = ctx.saved_tensors
        slopes: list[Any] = []
        for i, x in enumerate(factors):
            if not ctx.needs_input_grad[i + 1]:
                slopes.append(None)
            elif ctx.stable:
                others = [f for j, f in enumerate(factors) if j != i]
                slopes.append(grads[0] * torch.stack(others).prod(dim=0) if len(others) > 1 else grads[0] * others[0])
            else:
                slopes.append(grads[0] * (y / x))
        return (None, *slopes)


@register("Eltwise")
class Eltwise(Layer):
    """Two or more bottoms; ``coeff`` are the weights of a SUM.

    At equal values the gradient of MAX goes, as in Caffe, to the second bottom rather than the first, and to an
    earlier bottom rather than the third or a later one.
    """

    param_field = "eltwise_param"
    supported = frozenset({"operation", "coeff", "stable_prod_grad"})
    bottom_count = (2, 1000)
    in_place = False
    why_not_in_place = "Caffe overwrites the first bottom before it has read it"
    per_sample = True

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        if self._operation != "PROD":
            return frozenset()
        return frozenset({"bottom"} if self.params.stable_prod_grad else {"bottom", "top"})

    def configure(self) -> None:
        p = self.params
        self._operation = enum_name(p, "operation")
        count = len(self.spec.message.bottom)
        self.require(len(p.coeff) in (0, count), f"{len(p.coeff)} coefficients for {count} bottoms", "coeff", 0)
        self.require(not (p.coeff and self._operation == "PROD"), "a product has no coefficients", "coeff", 0)
        self._coeffs = [float(c) for c in p.coeff] or [1.0] * count

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        for shape in bottoms[1:]:
            self.require(shape == bottoms[0], f"bottoms of shapes {bottoms[0]} and {shape}")
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        if self._operation == "PROD":
            return [_Product.apply(bool(self.params.stable_prod_grad), *bottoms)]
        if self._operation == "MAX":
            y = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
            for x in bottoms[2:]:
                y = torch.where(x > y, x, y)
            return [y]
        terms = [x if c == 1 else x * c for x, c in zip(bottoms, self._coeffs, strict=True)]
        total = terms[0] + terms[1]
        for term in terms[2:]:
            total = total + term
        return [total]
