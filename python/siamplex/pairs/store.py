"""Pairs on disk, in two layouts BVLC Caffe reads.

``stacked``: one Datum a pair, six channels of pixels (two BGR images), label 1 = same.
``indexed``: one Datum a pair, two float indices and the label; the pixels once, mean subtracted and
scaled, as the table of an Embed layer in a caffemodel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt

from siamplex.errors import StorageError
from siamplex.pairs.pairing import Pairs
from siamplex.pairs.scaling import scaled
from siamplex.run.durable import atomic_directory, require_room
from siamplex.run.progress import Progress
from siamplex.schema import messages
from siamplex.schema.datum import encode
from siamplex.schema.weights import Written, write_rows

LAYOUTS = ("indexed", "stacked")
TABLE_LAYER = "images"  # the Embed layer, and its twin with _p
_PAGE = 4096
_AT_ONCE = 1 << 16  # pairs whose records are made in one go
# channels: 2, height: 1, width: 1, label, float_data twice, each behind its tag
_INDEXED = np.dtype([("shape", "V6"), ("tag", "u1"), ("label", "u1"), ("one", "u1"), ("first", "<f4"), ("other", "u1"),
                     ("second", "<f4")])  # fmt: skip
_EMPTY = np.array((bytes((8, 2, 16, 1, 24, 1)), 0x28, 0, 0x35, 0, 0x35, 0), _INDEXED)


@dataclass(frozen=True)
class Stored:
    """An LMDB that was written: records, and bytes of its data file."""

    records: int
    bytes: int


def stacked_bytes(count: int, size: int) -> int:
    """Bytes of a stacked LMDB of ``count`` pairs of size x size images: whole pages for each."""
    pages = -(-(6 * size * size + 64) // _PAGE)
    return count * (pages * _PAGE + 48) + 64 * _PAGE


def write_indexed(folder: Path, pairs: Pairs, quiet: bool = False) -> Stored:
    """Write the indexed LMDB, ``quiet``: without a word.  Raises StorageError."""
    require_room(folder, len(pairs) * 64 + (1 << 20), f"{len(pairs):,} indexed pairs")

    def records() -> Iterator[bytes]:
        # a Datum of two floats has one form: bytes of a block of them are put together at once
        for start in range(0, len(pairs), _AT_ONCE):
            span = slice(start, start + _AT_ONCE)
            rows = np.empty(len(pairs.first[span]), _INDEXED)
            rows[:] = _EMPTY
            rows["label"], rows["first"], rows["second"] = pairs.same[span], pairs.first[span], pairs.second[span]
            data = rows.tobytes()
            yield from (data[at : at + _INDEXED.itemsize] for at in range(0, len(data), _INDEXED.itemsize))

    return _write(folder, records, len(pairs), len(pairs) * 96 + (1 << 22), batch=8192, quiet=quiet)


def write_stacked(folder: Path, pairs: Pairs, images: npt.NDArray[np.uint8]) -> Stored:
    """Write the stacked LMDB of ``images`` (N, 3, H, W) BGR bytes.  Raises StorageError."""
    needed = stacked_bytes(len(pairs), images.shape[-1])
    require_room(folder, needed, f"{len(pairs):,} stacked pairs")

    def records() -> Iterator[bytes]:
        for first, second, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
            yield encode(np.concatenate([images[first], images[second]]), int(same))

    return _write(folder, records, len(pairs), needed * 2 + (1 << 24), batch=256)


def _write(
    folder: Path, records: Callable[[], Iterator[bytes]], count: int, room: int, batch: int, quiet: bool = False
) -> Stored:
    progress = None if quiet else Progress(f"write {folder.name}", count)
    with atomic_directory(folder) as part:
        try:
            # not synced page by page: the folder is synced whole before it takes its name
            with lmdb.open(str(part), map_size=room, sync=False, writemap=False) as env:
                source = records()
                done = 0
                wide = max(8, len(str(count - 1)))  # keys in the order of their numbers, beyond 100 million too
                while done < count:
                    wanted = min(batch, count - done)
                    rows = [(b"%0*d" % (wide, i), next(source)) for i in range(done, done + wanted)]
                    with env.begin(write=True) as txn, txn.cursor() as cursor:
                        cursor.putmulti(rows, append=True)
                    done += wanted
                    if progress:
                        progress.step(wanted)
        except lmdb.Error as error:
            raise StorageError(f"{folder}: expected to write the LMDB, found: {error}") from None
        (part / "lock.mdb").unlink(missing_ok=True)
        size = (part / "data.mdb").stat().st_size
    if progress:
        progress.close()
    return Stored(count, size)


def write_table(
    path: Path, count: int, size: int, blocks: Iterable[npt.NDArray[np.uint8]], mean: tuple[float, ...], scale: float
) -> Written:
    """Write the Embed table: row i is image i (3, size, size) BGR less the mean, times ``scale``, float32, flattened.

    The ``count`` images come in ``blocks`` (n, 3, size, size); no more than one is held.
    """
    shape = (count, 3 * size * size)
    require_room(path, 4 * count * shape[1], f"a table of {count} images")
    layer = messages.LayerParameter(name=TABLE_LAYER, type="Embed")
    layer.embed_param.input_dim, layer.embed_param.num_output = shape
    layer.embed_param.bias_term = False

    return write_rows(path, "images", layer, shape, (scaled(images, mean, scale) for images in blocks))
