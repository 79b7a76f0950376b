"""The fast paths' kernels: FFT convolution, oneDNN products, gradients of wide weights as factors."""

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
        """Keep the gradients of the weights of ``least`` and more values as factors from now on."""
        self._wide = WideGradients(weights, least)
        return self._wide

    def factors_of(self, weight: torch.Tensor) -> Factors | None:
        """Where the factors of a weight's gradient are kept; None where it is kept whole."""
        return self._wide.of(weight) if self._wide else None

    def convolve(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: tuple[int, int]
    ) -> torch.Tensor | None:
        """An FFT convolution, where that takes fewer multiplications by enough."""
        return spectral_conv2d(x, weight, bias, pad) if worthwhile(x, weight, pad) else None

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, factors: bool) -> torch.Tensor:
        """All three products by the quicker library."""
        return linear(x, weight, bias, self.factors_of(weight) if factors else None)
