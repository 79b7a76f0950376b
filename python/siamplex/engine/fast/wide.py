"""Gradients of wide weights, kept as factors until the update.

The gradient of an InnerProduct's weight is (dL/dy)^T x, a product of two narrow matrices.  For
fc4 it has 66 million values.  Storing it would cost a write and a read of all of them, so the update
computes it a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from siamplex.engine.fast.products import times_transposed
from siamplex.engine.net.kernels import Factors

WIDE = 1 << 22  # values from which a weight is wide
_ROWS = 128  # of a gradient, computed at a time


class WideGradients:
    """The factors of the gradients of wide weights (O, K): those with at least ``least`` values, on the CPU."""

    def __init__(self, weights: Sequence[torch.Tensor], least: int = WIDE) -> None:
        self._factors: dict[int, Factors] = {
            id(w): [] for w in weights if w.dim() == 2 and w.numel() >= least and w.device.type == "cpu"
        }

    def of(self, weight: torch.Tensor) -> Factors | None:
        """The list to which a layer adds its factors; None where the weight is not wide."""
        return self._factors.get(id(weight))

    def take(self, weight: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]] | None:
        """The gradient in blocks of rows, summed over its factors; None where there are none.

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
