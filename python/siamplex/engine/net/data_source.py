"""Reading an LMDB of Datums in key order; the reader wraps around at the end, and its position can be saved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.schema.datum import DatumError, decode, decode_uniform, is_encoded, shape_of
from siamplex.schema.record_stores import open_store

_SMALL, _MOST = 64, 1 << 26  # bytes of a sample's values, and of all, up to which a store is decoded whole
_AHEAD = 1 << 20  # bytes of a batch from which the next one is read while this one is computed
_LOOKED_AT = 32  # records whose shapes tell whether a store has samples of several

Samples = npt.NDArray[Any] | list[npt.NDArray[Any]]  # (N, C, H, W), or N of (C, H, W) where these differ
Batch = tuple[Samples, npt.NDArray[np.float32]]
Whole = tuple[npt.NDArray[Any], npt.NDArray[np.float32]]


class DataSource:
    """Batches of Datums from an LMDB (or LevelDB) folder, wrapping around at its end as Caffe's reader does.

    If batches are large, a second thread reads the next one ahead; ``position`` counts only the batches returned.
    ``mode`` says how encoded Datums are decoded: :func:`siamplex.schema.datum.decode`.  ``shape`` (C, H, W) is that of
    the first sample; ``mixed`` says that the first records have several.
    """

    def __init__(self, folder: Path, backend: str = "LMDB", mode: str = "native") -> None:
        self.folder = folder
        self._mode = mode
        self._store = open_store(folder, backend)
        self.entries = self._store.entries
        if not self.entries:
            raise InputError(folder, f"an {backend} with records" if backend == "LMDB" else "records", "none")
        self.position = 0
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[Batch]] | None = None  # size of the batch being read, and it
        self._records = self._from(0)
        first = next(self._records)
        values, _ = self._decode(0, first)
        self.encoded = is_encoded(first)
        self.shape: tuple[int, ...] = values.shape
        self.dtype = values.dtype
        self._whole: Whole | None = None  # all records of a small store, decoded at once
        self._may_be_whole = values.nbytes <= _SMALL and values.nbytes * self.entries <= _MOST
        self.mixed = self._shapes_differ()
        self.seek(0)

    def _shapes_differ(self) -> bool:
        few = islice(self._store.records(), _LOOKED_AT)
        return any(shape_of(bytes(record), self._mode) not in (None, self.shape) for record in few)

    def fingerprint(self) -> str:
        """A hash of the number of records and their bytes: all records if small, else 64 spread over the store."""
        digest = hashlib.sha256(f"{self.entries} {self.shape} {self.dtype}".encode())
        step = 1 if self._may_be_whole or self._whole else max(1, self.entries // 64)
        for number, record in enumerate(self._store.records()):
            if number % step == 0:
                digest.update(record)
        return digest.hexdigest()

    def seek(self, position: int) -> None:
        """Let the next batch start at record ``position``, counted over all passes."""
        if self._ahead:
            self._ahead[1].exception()  # waits: the records are read by one thread at a time
            self._ahead = None
        self.position = position % self.entries
        self._records = self._from(self.position)

    def at(self, position: int, size: int) -> npt.NDArray[Any]:
        """Values (N, C, H, W) of the ``size`` samples from record ``position``; the next batch follows them.

        Raises InputError for samples of several shapes.
        """
        self.seek(position)
        values, _ = self._as_whole(self._read(self.position, size), self.position)
        self.position = (self.position + size) % self.entries
        return values

    def uniform_batch(self, size: int) -> Whole:
        """The next ``size`` samples: values (N, C, H, W), labels (N,).  Raises InputError where shapes differ."""
        position = self.position
        return self._as_whole(self.batch(size), position)

    def _as_whole(self, batch: Batch, position: int) -> Whole:
        values, labels = batch
        if isinstance(values, np.ndarray) and values.shape[1:] == self.shape:
            return values, labels
        i, odd = next((i, one) for i, one in enumerate(values) if one.shape != self.shape)
        where = f"{self.folder} record {(position + i) % self.entries}"
        raise InputError(where, f"shape {self.shape}, as record 0 has", f"{odd.shape}")

    def all(self) -> Whole | None:
        """Values (N, C, H, W) and labels (N,) of a store of small records; None for a large store."""
        if self._may_be_whole:
            self._read(0, 0)
        return self._whole

    def scan(self, count: int) -> Iterator[tuple[npt.NDArray[Any], int]]:
        """The first ``count`` samples (C, H, W) with their labels; the position does not change.

        Must not be called while a batch is read ahead.
        """
        for number, record in zip(range(count), self._store.records(), strict=False):
            yield self._decode(number, bytes(record))

    def _from(self, start: int) -> Iterator[bytes]:
        while True:
            for number, record in enumerate(self._store.records()):
                if number >= start:
                    yield bytes(record)
            start = 0

    def _decode(self, number: int, record: bytes) -> tuple[npt.NDArray[Any], int]:
        try:
            return decode(record, self._mode)
        except DatumError as error:
            raise InputError(f"{self.folder} record {number}", "a Datum", str(error)) from None

    def batch(self, size: int) -> Batch:
        """The next ``size`` samples: values, bytes or floats, and labels (N,)."""
        if self._ahead and self._ahead[0] != size:
            self.seek(self.position)
        batch = self._ahead[1].result() if self._ahead else self._read(self.position, size)
        self._ahead = None
        self.position = (self.position + size) % self.entries
        values = batch[0]
        size_in_bytes = values.nbytes if isinstance(values, np.ndarray) else sum(one.nbytes for one in values)
        if size_in_bytes >= _AHEAD:
            self._reader = self._reader or ThreadPoolExecutor(1, "reader")
            self._ahead = size, self._reader.submit(self._read, self.position, size)
        return batch

    def _read(self, position: int, size: int) -> Batch:
        if self._may_be_whole:
            self._whole = decode_uniform([bytes(record) for record in self._store.records()])
            self._may_be_whole = False
        if self._whole:
            if position + size <= self.entries:
                return self._whole[0][position : position + size], self._whole[1][position : position + size]
            chosen = np.arange(position, position + size) % self.entries
            return self._whole[0][chosen], self._whole[1][chosen]
        values: Samples = np.empty((size, *self.shape), self.dtype)
        labels = np.empty(size, np.float32)
        for i in range(size):
            sample, labels[i] = self._decode((position + i) % self.entries, next(self._records))
            if isinstance(values, np.ndarray) and (sample.shape, sample.dtype) != (values.shape[1:], values.dtype):
                # a whole batch of another shape is an array too
                values = list(values[:i]) if i else np.empty((size, *sample.shape), sample.dtype)
            if isinstance(values, list):
                values.append(sample)
            else:
                values[i] = sample
        return values, labels
