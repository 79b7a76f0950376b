"""Permutations of pictures within each emotion, and the p computed from them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from siamplex.randomness import numpy_stream

SHUFFLES = 1000  # the true arrangement among them


def within(labels: npt.NDArray[np.int64], seed: int, purpose: str) -> Iterator[npt.NDArray[np.int64]]:
    """SHUFFLES permutations (M,) that keep each picture's label (M,); the first is the identity."""
    stream = numpy_stream(seed, "pictures within emotions", purpose)
    places = np.argsort(labels, kind="stable")
    yield np.arange(len(labels))
    for _ in range(SHUFFLES - 1):
        order = np.empty(len(labels), np.int64)
        order[places] = np.lexsort((stream.random(len(labels)), labels))
        yield order


def p_of(values: npt.NDArray[np.float64], tolerance: float = 1e-9) -> float:
    """The share of values (R,) that reach the first, which is the true one (one-sided)."""
    return float((values >= values[0] - tolerance).mean())
