"""The base of data layers that read files: their position in the data can be saved and set."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from siamplex.engine.net.layer import Layer
from siamplex.randomness import numpy_stream


class Source(Protocol):
    """The reader of a feeding layer; ``position`` is that of the next sample, and snapshots save it."""

    position: int

    def seek(self, position: int) -> None:
        """Let the next batch start at ``position``."""

    def fingerprint(self) -> str:
        """A hash of the data, independent of their path."""


class FeedingLayer(Layer):
    """Base of the layers with a :class:`Source`, which ``setup`` creates."""

    source: Source

    @property
    def sizes_vary(self) -> bool:
        """Whether the samples of a batch may have another size than those that the layer was set up for."""
        return False

    @property
    def place(self) -> str:
        """The first sample of the last batch, for messages."""
        return f"a sample of layer '{self.spec.name}'"

    def rows(self, batch_size: int) -> int:
        """Rows of a batch that this process computes.  Raises PrototxtError where processes cannot share it."""
        count, uneven = divmod(batch_size, self.spec.share.size)
        what = f"{self.spec.share.size} processes do not share {batch_size} evenly"
        self.require(not uneven, what, "batch_size", 0)
        return count


class Orders:
    """The order of items in each pass over the data: as listed, or shuffled anew for each pass.

    An order is drawn from (seed, purpose, pass), so that a resumed run needs no generator state.
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
