"""Resampling of subjects and seeds by weights: the Bayesian bootstrap (Rubin 1981).

A draw gives each subject a weight from an exponential distribution.  Any subset of the subjects uses the same weights,
so that all cells share one draw whatever their fold.  No weight is 0, so no emotion is lost in a draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siamplex.randomness import numpy_stream

DRAWS = 400
FEWEST = 3  # subjects, below which there is no interval (as geometry's accuracies have it)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """``values`` (B, N) float64, positive: the weight of each of N ``names`` in each of B draws."""

    names: tuple[str, ...]
    values: Floats

    @classmethod
    def draw(cls, names: Iterable[str], purpose: str, count: int = DRAWS, seed: int = 0) -> Weights:
        """Weights of the distinct ``names``; ``purpose`` names the stream."""
        kept = tuple(sorted(set(names)))
        return cls(kept, numpy_stream(seed, "multiverse", purpose).exponential(1.0, (count, len(kept))))

    def of(self, names: Sequence[str]) -> Floats:
        """Those of some names (B, len(names)), in their order."""
        at = {name: i for i, name in enumerate(self.names)}
        return self.values[:, [at[name] for name in names]]
