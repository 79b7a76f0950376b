"""Reading rows of datasets from HDF5 files, one file after the other; the reader wraps around at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from siamplex.engine.net.feeding import Orders
from siamplex.engine.net.limits import Budget
from siamplex.errors import InputError
from siamplex.schema.blobs import Array
from siamplex.schema.hdf5_files import opened

WHAT = "HDF5 file"
_SPREAD = 64  # rows that a fingerprint is made of


class Hdf5Source:
    """Batches of rows of the datasets ``names``, from ``files`` in their order; it wraps around after the last file.

    ``shuffle`` draws the order of the files anew for each pass, and the order of rows within each file.  One file is
    held in memory at a time.  ``position`` counts all rows returned.  ``shapes`` are those of a row, one for each name.
    All files are checked first: InputError is raised for a missing dataset, for datasets with different numbers of
    rows, and for row shapes that differ between files.
    """

    def __init__(self, files: Sequence[Path], names: Sequence[str], shuffle: bool, key: str) -> None:
        self._files, self._names = list(files), list(names)
        looked_at = [self._look(path) for path in self._files]
        self.shapes = [shape[1:] for shape in looked_at[0]]
        for path, shapes in zip(self._files, looked_at, strict=True):
            for name, shape, first in zip(self._names, shapes, self.shapes, strict=True):
                if shape[1:] != first:
                    raise InputError(path, f"rows of shape {first} in '{name}', as in {self._files[0]}", f"{shape[1:]}")
        self._counts = np.array([shapes[0][0] for shapes in looked_at])
        self.entries = int(self._counts.sum())
        self.position = 0
        self._file_orders, self._row_orders = Orders(shuffle, key, "files"), Orders(shuffle, key, "rows")
        self._held: tuple[int, list[Array]] = -1, []

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self._files)

    def _look(self, path: Path) -> list[tuple[int, ...]]:
        """Shapes of a file's datasets, checked."""
        with opened(path, WHAT) as root:
            there = root.names()
            missing = next((name for name in self._names if name not in there), None)
            if missing is not None:
                raise InputError(path, f"a dataset '{missing}'", f"{', '.join(there) or 'none'}")
            shapes = [root.shape(name) for name in self._names]
        budget = Budget(torch.device("cpu"))
        for name, shape in zip(self._names, shapes, strict=True):
            if not shape or not shape[0]:
                raise InputError(path, f"rows in '{name}'", f"shape {shape}")
            if shape[0] != shapes[0][0]:
                expected = f"{shapes[0][0]} rows in '{name}', as '{self._names[0]}' has"
                raise InputError(path, expected, f"{shape[0]}")
            if budget.take(shape):
                raise InputError(path, "datasets that fit into memory", f"'{name}' of shape {shape}")
        return shapes

    def seek(self, position: int) -> None:
        """Let the next batch start at ``position``, counted over all passes."""
        self.position = position

    def batch(self, size: int, seed: int) -> list[Array]:
        """The next ``size`` rows of each dataset: (size, ...) float32."""
        parts: list[list[Array]] = [[] for _ in self._names]
        left = size
        while left:
            turn, within = divmod(self.position, self.entries)
            order = self._file_orders.of(seed, len(self._files), turn)
            ends = self._counts[order].cumsum()
            at = int(np.searchsorted(ends, within, side="right"))
            number, first = int(order[at]), within - int(ends[at] - self._counts[order[at]])
            rows = self._row_orders.of(seed, int(self._counts[number]), turn, number)[first : first + left]
            for part, values in zip(parts, self._values(number), strict=True):
                part.append(values[rows])
            left -= len(rows)
            self.position += len(rows)
        return [np.concatenate(part) for part in parts]

    def _values(self, number: int) -> list[Array]:
        if self._held[0] != number:
            self._held = -1, []  # free the previous file first
            with opened(self._files[number], WHAT) as root:
                values = [root.array(name) for name in self._names]
            for name, array, shape in zip(self._names, values, self.shapes, strict=True):
                wanted = (int(self._counts[number]), *shape)
                if array.shape != wanted:
                    raise InputError(self._files[number], f"'{name}' of shape {wanted}, as before", f"{array.shape}")
            self._held = number, values
        return self._held[1]

    def fingerprint(self) -> str:
        """A hash of the files' shapes and of rows spread over all files; file names do not enter."""
        digest = hashlib.sha256(f"{self._names} {self._counts.tolist()} {self.shapes}".encode())
        step = max(1, self.entries // _SPREAD)
        starts = self._counts.cumsum() - self._counts
        for path, start, count in zip(self._files, starts.tolist(), self._counts.tolist(), strict=True):
            rows = list(range(-start % step, count, step))
            if rows:
                with opened(path, WHAT) as root:
                    for name in self._names:
                        digest.update(np.ascontiguousarray(root.rows(name, rows)).tobytes())
        return digest.hexdigest()
