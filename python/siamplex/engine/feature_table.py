"""The features of every distinct image met so far, one row each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.layer import Context
from siamplex.engine.net import Node

_CHUNK = 16  # images computed at a time


class TableFull(Exception):
    """More distinct images than the table may hold."""


def sample_key(sample: npt.NDArray[Any]) -> bytes:
    """Tells stored samples apart by their bytes."""
    data = np.ascontiguousarray(sample).tobytes()
    return data if len(data) <= 32 else hashlib.blake2b(data, digest_size=16).digest()


class FeatureTable:
    """Rows of features: (rows, width) float32 on the net's device, growing up to ``limit`` rows."""

    def __init__(self, chain: Sequence[Node], prepare: Callable[[npt.NDArray[Any]], torch.Tensor], limit: int) -> None:
        self._chain, self._prepare, self._limit = list(chain), prepare, limit
        self._rows: dict[bytes, int] = {}
        self._store: torch.Tensor | None = None
        self._grown: list[Callable[[int, int], None]] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def features(self) -> torch.Tensor:
        """(rows, width) float32."""
        assert self._store is not None
        return self._store[: len(self)]

    def on_growth(self, call: Callable[[int, int], None]) -> None:
        """Let ``call(first, last)`` know of each range of new rows, those there already included."""
        self._grown.append(call)
        if len(self):
            call(0, len(self))

    def lookup(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        """Row numbers (N,) of samples (N, C, H, W) as stored; new ones are computed and added.

        Raises TableFull.
        """
        keys = [sample_key(sample) for sample in samples]
        new: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self._rows and key not in new:
                new[key] = i
        if new:
            self._add(list(new), samples[list(new.values())])
        return torch.tensor([self._rows[key] for key in keys])

    def _add(self, keys: list[bytes], samples: npt.NDArray[Any]) -> None:
        first = len(self)
        if first + len(keys) > self._limit:
            raise TableFull
        for start in range(0, len(samples), _CHUNK):
            rows = self._compute(samples[start : start + _CHUNK])
            at = first + start
            self._reserve(at + len(rows), rows)
            assert self._store is not None
            self._store[at : at + len(rows)] = rows
        for offset, key in enumerate(keys):
            self._rows[key] = first + offset
        for call in self._grown:
            call(first, len(self))

    @torch.no_grad()
    def _compute(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        x = self._prepare(samples)
        for node in self._chain:
            x = node.layer.forward([x], [p.tensor for p in node.params], Context(train=False))[0]
        return x.flatten(1)

    def _reserve(self, rows: int, like: torch.Tensor) -> None:
        have = 0 if self._store is None else len(self._store)
        if rows <= have:
            return
        size = min(self._limit, max(rows, 2 * have, _CHUNK))
        store = torch.empty((size, like.shape[1]), dtype=like.dtype, device=like.device)
        if self._store is not None:
            store[:have] = self._store
        self._store = store
