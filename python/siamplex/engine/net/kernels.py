"""Quicker ways to compute single layers, as the layers see them.

A layer asks the kernels of its context, where there are any; else it computes as torch does.  The fast paths
implement this; a net run without them never sees an implementation.
"""

from __future__ import annotations

from typing import Protocol

import torch

# (dL/dy (N, O), x (N, K)) of passes over a layer y = x W^T: the gradient of W is the sum of (dL/dy)^T x
Factors = list[tuple[torch.Tensor, torch.Tensor]]


class Kernels(Protocol):
    """The same numbers as torch's own operations, but for the order in which sums are rounded."""

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: tuple[int, int]
    ) -> torch.Tensor | None:
        """A convolution of stride and dilation 1 (N, O, H', W'), differentiable; None where torch's is as quick.

        x is (N, C, H, W), weight (O, C / group, kh, kw), bias (O,).
        """

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, factors: bool) -> torch.Tensor:
        """x W^T + bias (N, O), differentiable, for x (N, K) and W (O, K).

        ``factors`` says that the weight's gradient may be kept as :data:`Factors` for the update.
        """
