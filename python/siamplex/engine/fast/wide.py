"""Gradients of wide weights, kept as their factors until the update.

The gradient of an InnerProduct's weight is (dL/dy)^T x, a product of two narrow matrices.  For
fc4 it has 66 million values: written once and read once for nothing, where the update can make
it some rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from siamplex.engine.fast.products import times_transposed
from siamplex.engine.net.kernels import Factors

WIDE = 1 << 22  # values from which a weight is wide
_ROWS = 128  # of a gradient, made at a time


class WideGradients:
    """Factors of the gradients of the wide ones among some weights (O, K)."""

    def __init__(self, weights: Sequence[torch.Tensor], least: int = WIDE) -> None:
        self._factors: dict[int, Factors] = {
            id(w): [] for w in weights if w.dim() == 2 and w.numel() >= least and w.device.type == "cpu"
        }

    def of(self, weight: torch.Tensor) -> Factors | None:
        """The list to which a layer adds its factors; None where the weight is not a wide one."""
        return self._factors.get(id(weight))

    def take(self, weight: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]] | None:
        """Rows of the gradient, block by block, summed over the factors; None where there are none.

        The factors are gone afterwards.
        """
        factors = self._factors.get(id(weight))
        if not factors:
            return None
        taken = list(factors)
        factors.clear()
        return _blocks(taken, weight.shape[0])


def _blocks(factors: Factors, count: int) -> Iterator[tuple[slice, torch.Tensor]]:
    for start in range(0, count, _ROWS):
        rows = slice(start, min(start + _ROWS, count))
        total = None
        for gradient, x in factors:
            part = times_transposed(gradient[:, rows].t(), x.t())
            total = part if total is None else total.add_(part)
        assert total is not None
        yield rows, total
