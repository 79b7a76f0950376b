"""The feature table: the frozen prefix's output for every distinct image read so far, one row an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.threads import threads
from siamplex.engine.net.layer import Context
from siamplex.engine.net.node import Node
from siamplex.engine.net.plan import PlanFull
from siamplex.engine.net.sample_numbers import SampleNumbers

_CHUNK = 16  # images computed at a time


class TableFull(PlanFull):
    """There are more distinct images than the table may hold."""


@dataclass(frozen=True)
class PreparedRows:
    """Precomputed products of N images with features F (N, D), for an initial weight W0 (O, D).

    ``gram`` (N, N) is K = F F^T and ``base`` (N, O) is F W0^T, both float32.  The dual form needs only these.
    ``features`` F are needed where the weight is not kept in its dual form, that is where N >= D.
    """

    gram: torch.Tensor
    base: torch.Tensor
    features: torch.Tensor | None = None


class FeatureTable:
    """Features (rows, width), float32 on the net's device.  The table grows up to ``limit`` rows.

    ``chain`` are the nodes of the frozen prefix; ``prepare`` turns stored samples into the first node's input.
    """

    def __init__(self, chain: Sequence[Node], prepare: Callable[[npt.NDArray[Any]], torch.Tensor], limit: int) -> None:
        self._chain, self._prepare, self._limit = list(chain), prepare, limit
        self._numbers = SampleNumbers()
        self._count = 0
        self._store: torch.Tensor | None = None
        self._in_order = False
        self._grown: list[Callable[[int, int], None]] = []
        self._threads = torch.get_num_threads()
        self.prepared: PreparedRows | None = None

    @staticmethod
    def of(rows: PreparedRows) -> FeatureTable:
        """A table that holds precomputed images, numbered 0 to N - 1."""
        table = FeatureTable((), lambda samples: torch.empty(0), len(rows.gram))
        table.prepared, table._count, table._in_order, table._store = rows, len(rows.gram), True, rows.features
        return table

    def __len__(self) -> int:
        return self._count

    @property
    def in_order(self) -> bool:
        """Whether a sample's value is its row number."""
        return self._in_order

    @property
    def features(self) -> torch.Tensor:
        """(rows, width) float32."""
        assert self._store is not None
        return self._store[: len(self)]

    def on_growth(self, call: Callable[[int, int], None]) -> None:
        """Call ``call(first, last)`` for each range of new rows, and now for the rows already there."""
        self._grown.append(call)
        if len(self):
            call(0, len(self))

    def lookup(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        """Row numbers (N,) of samples (N, C, H, W) as stored; new ones are computed and added.

        Raises TableFull.
        """
        if self._in_order:
            given = samples.reshape(len(samples))
            numbers = given.astype(np.int64)
            inside = numbers.view(np.uint64) < self._count  # a negative one is a very large one
            if ((numbers == given) & inside).all():
                return torch.from_numpy(numbers)
        rows = [self._numbers.number(sample) for sample in samples]
        if len(self._numbers) > self._count:
            first = {row: i for i, row in reversed(list(enumerate(rows)))}
            new = samples[[first[row] for row in range(self._count, len(self._numbers))]]
            if len(self._numbers) > self._limit:
                self._numbers.forget(self._count)
                raise TableFull
            self._add(new)
        return torch.tensor(rows)

    def known(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        """Row numbers (N,) int64 of samples (N, C, H, W) as stored, -1 for those not in the table; adds none."""
        if self._in_order:
            given = samples.reshape(len(samples))
            numbers = given.astype(np.int64)
            inside = (numbers == given) & (numbers >= 0) & (numbers < self._count)
            return torch.from_numpy(np.where(inside, numbers, -1))
        return torch.tensor([self._numbers.known(sample) for sample in samples], dtype=torch.int64)

    def fill_in_order(self, count: int, dtype: npt.DTypeLike) -> None:
        """Add the one-value samples 0, 1, ... count - 1; from then on a sample's value is its row number."""
        self.lookup(np.arange(count, dtype=dtype).reshape(-1, 1, 1, 1))
        self._in_order = True

    def _add(self, samples: npt.NDArray[Any]) -> None:
        with threads(self._threads):  # long pieces of work: use all threads whatever ThreadChoice has set
            self._append(samples)

    def _append(self, samples: npt.NDArray[Any]) -> None:
        first = self._count
        for start in range(0, len(samples), _CHUNK):
            rows = self._compute(samples[start : start + _CHUNK])
            at = first + start
            self._reserve(at + len(rows), rows)
            assert self._store is not None
            self._store[at : at + len(rows)] = rows
        self._count += len(samples)
        for call in self._grown:
            call(first, self._count)

    @torch.no_grad()
    def _compute(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        x = self._prepare(samples)
        with torch.autocast(x.device.type, enabled=False):  # once an image: full precision costs little
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
