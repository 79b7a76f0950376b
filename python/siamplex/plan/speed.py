"""This machine's speed of multiplication and of small calls, for estimates of steps that were not measured."""

from __future__ import annotations

import os
import time

import numpy as np

_SIDE = 64  # small enough for one thread of any BLAS: what other work has of the other cores does not count
_SMALL = 8  # so small that a product takes no time beside its call
_BURST, _SECONDS = 20, 0.2


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplication_rate() -> float:
    """Floating point operations a second that all cores could do: those of one, in its quickest burst, times the cores.

    Takes a fifth of a second.
    """
    return 2 * _SIDE**3 / _quickest(_SIDE) * cores()


def call_seconds() -> float:
    """Seconds of a library call on a small array, in the quickest burst.  Takes a fifth of a second."""
    return _quickest(_SMALL)


def _quickest(side: int) -> float:
    """Seconds of a product of two square matrices."""
    a = np.ones((side, side), np.float32)
    into = np.empty_like(a)
    quickest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        for _ in range(_BURST):
            np.matmul(a, a, out=into)
        quickest = min(quickest, time.perf_counter() - start)
    return quickest / _BURST
