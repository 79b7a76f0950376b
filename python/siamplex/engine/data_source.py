"""Reading an LMDB of Datums in key order, round and round, with a position that can be saved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.schema.datum import DatumError, decode
from siamplex.schema.lmdb_files import open_for_reading


class DataSource:
    """Batches of Datums from an LMDB folder, wrapping around at its end as Caffe's reader does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._env = open_for_reading(folder)
        self.entries = int(self._env.stat()["entries"])
        if not self.entries:
            raise InputError(folder, "an LMDB with records", "none")
        self.position = 0
        self._records = self._from(0)
        values, _ = self._decode(b"(first)", next(self._records))
        self.shape: tuple[int, ...] = values.shape
        self.dtype = values.dtype
        self.seek(0)

    def fingerprint(self) -> str:
        """A hash of the number of records and of up to 64 of them, spread over the whole."""
        digest = hashlib.sha256(f"{self.entries} {self.shape} {self.dtype}".encode())
        step = max(1, self.entries // 64)
        # as buffers: only the records looked at are read from disk
        with self._env.begin(buffers=True) as txn, txn.cursor() as cursor:
            for number, record in enumerate(cursor.iternext(keys=False, values=True)):
                if number % step == 0:
                    digest.update(record)
        return digest.hexdigest()

    def seek(self, position: int) -> None:
        """Let the next batch start at record ``position`` (counted round and round)."""
        self.position = position % self.entries
        self._records = self._from(self.position)

    def _from(self, start: int) -> Iterator[bytes]:
        while True:
            with self._env.begin(buffers=True) as txn, txn.cursor() as cursor:
                try:
                    for number, record in enumerate(cursor.iternext(keys=False, values=True)):
                        if number >= start:
                            yield bytes(record)
                except lmdb.Error as error:
                    raise InputError(self.folder, "a whole LMDB", str(error)) from None
            start = 0

    def _decode(self, where: object, record: bytes) -> tuple[npt.NDArray[Any], int]:
        try:
            return decode(record)
        except DatumError as error:
            raise InputError(f"{self.folder} record {where!r}", "a Datum", str(error)) from None

    def batch(self, size: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """The next ``size`` samples: values (N, C, H, W), bytes or floats, and labels (N,)."""
        values = np.empty((size, *self.shape), self.dtype)
        labels = np.empty(size, np.float32)
        for i in range(size):
            sample, labels[i] = self._decode(self.position, next(self._records))
            if sample.shape != self.shape or sample.dtype != self.dtype:
                raise InputError(f"{self.folder} record {self.position}", f"shape {self.shape}", f"{sample.shape}")
            values[i] = sample
            self.position = (self.position + 1) % self.entries
        return values, labels
