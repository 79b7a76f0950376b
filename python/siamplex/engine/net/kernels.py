"""The interface of layer kernels: faster implementations of single operations, such as convolution.

A layer uses the kernels of its context; without any it uses torch's operations.  The fast paths
(:mod:`siamplex.engine.fast`) implement the interface; without them a context has no kernels.
"""

from __future__ import annotations

from typing import Protocol

import torch

# (dL/dy (N, O), x (N, K)) of passes over a layer y = x W^T: the gradient of W is the sum of (dL/dy)^T x
Factors = list[tuple[torch.Tensor, torch.Tensor]]


class Kernels(Protocol):
    """Operations with the same results as torch's, up to the order of sums."""

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: tuple[int, int]
    ) -> torch.Tensor | None:
        """A convolution of stride and dilation 1 (N, O, H', W'), differentiable; None where torch's is as fast.

        x is (N, C, H, W), weight (O, C / group, kh, kw), bias (O,).
        """

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, factors: bool) -> torch.Tensor:
        """x W^T + bias (N, O), differentiable, for x (N, K) and W (O, K).

        ``factors`` says that the weight's gradient may be kept as :data:`Factors` for the update.
        """
