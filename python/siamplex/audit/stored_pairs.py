"""Reads an LMDB of pairs: the two images of each record, and its label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.run.durable import hash_bytes
from siamplex.schema.datum import DatumError, decode
from siamplex.schema.lmdb_files import open_for_reading

_SAMPLE = 2000  # stacked records looked at, unless all are asked for

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoredPairs:
    """Pairs of one LMDB: images (positions in the index, -1 unknown) and labels of the records looked at.

    ``records`` is how many there are in all; ``swapped`` counts halves that are an image with its
    red and blue exchanged.
    """

    records: int
    first: Ints
    second: Ints
    label: Ints
    swapped: int = 0

    @property
    def complete(self) -> bool:
        """Whether every record was looked at."""
        return len(self.label) == self.records

    @property
    def unknown(self) -> int:
        """Halves that are no image of the corpus."""
        return int((self.first < 0).sum() + (self.second < 0).sum())


def _records(folder: Path, step: int) -> Iterator[tuple[int, bytes]]:
    env = open_for_reading(folder)
    with env.begin(buffers=True) as txn, txn.cursor() as cursor:
        for number, value in enumerate(cursor.iternext(keys=False, values=True)):
            if number % step == 0:
                yield number, bytes(value)


def read_indexed(folder: Path, images: int) -> StoredPairs:
    """All pairs of an indexed LMDB.  Raises InputError for records that are no pair of indices."""
    rows = []
    for number, record in _records(folder, 1):
        values, label = _decoded(folder, number, record)
        if values.size != 2 or not (values == np.round(values)).all() or values.min() < 0 or values.max() >= images:
            raise InputError(f"{folder} record {number}", f"two indices below {images}", f"{values.ravel()[:4]}")
        rows.append((int(values.flat[0]), int(values.flat[1]), label))
    table = np.array(rows, np.int64).reshape(-1, 3)
    return StoredPairs(len(rows), table[:, 0], table[:, 1], table[:, 2])


def read_stacked(folder: Path, images: npt.NDArray[np.uint8], everything: bool) -> StoredPairs:
    """Pairs of a stacked LMDB, identified by their pixels (N, 3, H, W); a sample unless ``everything``."""
    count = int(open_for_reading(folder).stat()["entries"])
    step = 1 if everything else max(1, count // _SAMPLE)
    known = {hash_bytes(image[::-1].tobytes()): (i, True) for i, image in enumerate(images)}
    known |= {hash_bytes(image.tobytes()): (i, False) for i, image in enumerate(images)}
    rows, swapped = [], 0
    for number, record in _records(folder, step):
        values, label = _decoded(folder, number, record)
        if values.shape != (6, *images.shape[2:]):
            raise InputError(
                f"{folder} record {number}", f"a pair of shape {(6, *images.shape[2:])}", f"{values.shape}"
            )
        halves = [known.get(hash_bytes(values[part].tobytes()), (-1, False)) for part in (slice(3), slice(3, 6))]
        swapped += sum(exchanged for _, exchanged in halves)
        rows.append((halves[0][0], halves[1][0], label))
    table = np.array(rows, np.int64).reshape(-1, 3)
    return StoredPairs(count, table[:, 0], table[:, 1], table[:, 2], swapped)


def _decoded(folder: Path, number: int, record: bytes) -> tuple[npt.NDArray[Any], int]:
    try:
        return decode(record)
    except DatumError as error:
        raise InputError(f"{folder} record {number}", "a Datum", str(error)) from None
