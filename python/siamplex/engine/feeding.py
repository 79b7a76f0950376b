"""Layers that feed a net from files: each knows how far it has read, and can be set back or on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from siamplex.engine.layer import Layer
from siamplex.randomness import numpy_stream


class Source(Protocol):
    """What a feeding layer reads: ``position`` is that of the next sample, as a snapshot keeps it."""

    position: int

    def seek(self, position: int) -> None:
        """Let the next batch start at ``position``."""

    def fingerprint(self) -> str:
        """A hash of what is read, wherever it lies."""


class FeedingLayer(Layer):
    """Base of the layers with a :class:`Source`, made by ``setup``."""

    source: Source

    def rows(self, batch_size: int) -> int:
        """Rows of a batch that this process computes.  Raises PrototxtError where processes cannot share it."""
        count, uneven = divmod(batch_size, self.spec.share.size)
        what = f"{self.spec.share.size} processes do not share {batch_size} evenly"
        self.require(not uneven, what, "batch_size", 0)
        return count


class Orders:
    """The orders in which things are read, pass after pass: as they stand, or shuffled anew for each pass.

    An order is drawn from (seed, what it is for, pass), so that a resumed run needs no state of a generator.
    """

    def __init__(self, shuffled: bool, *purpose: str | int) -> None:
        self._shuffled, self._purpose = shuffled, purpose
        self._last: tuple[tuple[int, ...], npt.NDArray[np.int64]] = (), np.empty(0, np.int64)

    def of(self, seed: int, count: int, *which: int) -> npt.NDArray[np.int64]:
        """Numbers 0 to ``count`` - 1 in the order of pass ``which``, (count,) int64."""
        key = (seed, count, *which)
        if self._last[0] != key:
            order = np.arange(count)
            if self._shuffled:
                order = numpy_stream(seed, "order", *self._purpose, *which).permutation(count)
            self._last = key, order
        return self._last[1]
