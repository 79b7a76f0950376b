"""The fast paths' layer kernels: FFT convolution, oneDNN matrix products, factored gradients of wide weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.fast.products import linear
from siamplex.engine.fast.spectral import spectral_conv2d, worthwhile
from siamplex.engine.fast.wide import WIDE, WideGradients
from siamplex.engine.net.kernels import Factors


class FastKernels:
    """:class:`~siamplex.engine.net.kernels.Kernels` for one run."""

    def __init__(self) -> None:
        self._wide: WideGradients | None = None

    def keep_factors(self, weights: Sequence[torch.Tensor], least: int = WIDE) -> WideGradients:
        """From now on keep the gradients of weights with at least ``least`` values as factors."""
        self._wide = WideGradients(weights, least)
        return self._wide

    def factors_of(self, weight: torch.Tensor) -> Factors | None:
        """The list for the factors of a weight's gradient; None where the gradient is kept whole."""
        return self._wide.of(weight) if self._wide else None

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: tuple[int, int]
    ) -> torch.Tensor | None:
        """An FFT convolution where it is faster, else None."""
        return spectral_conv2d(x, weight, bias, pad) if worthwhile(x, weight, pad) else None

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, factors: bool) -> torch.Tensor:
        """x W^T + bias; the forward and both backward products use the faster library."""
        return linear(x, weight, bias, self.factors_of(weight) if factors else None)
