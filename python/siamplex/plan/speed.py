"""This machine's speed of multiplication, for estimates of steps that were not measured."""

from __future__ import annotations

import os
import time

import numpy as np

_SIDE = 64  # small enough for one thread of any BLAS: what other work has of the other cores does not count
_BURST, _SECONDS = 20, 0.2


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplication_rate() -> float:
    """Floating point operations a second that all cores could do: those of one, in its quickest burst, times the cores.

    Takes a fifth of a second.
    """
    a = np.ones((_SIDE, _SIDE), np.float32)
    into = np.empty_like(a)
    quickest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        for _ in range(_BURST):
            np.matmul(a, a, out=into)
        quickest = min(quickest, time.perf_counter() - start)
    return 2 * _SIDE**3 * _BURST / quickest * cores()
