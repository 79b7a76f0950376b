"""Creates an LMDB as Caffe's tools do: the path must be new, and the LMDB appears there when complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from siamplex.errors import InputError, StorageError, UsageError
from siamplex.run.durable import atomic_directory

Put = Callable[[bytes, bytes], None]
_ROOM = 1 << 30  # bytes of the map to begin with; doubled when full
_RECORDS, _BYTES = 1000, 64 << 20  # of a transaction, at most
LONGEST_KEY = 511


def check_backend(tool: str, backend: str) -> None:
    """Raise UsageError for a backend that cannot be written."""
    if backend == "leveldb":
        raise UsageError(f"{tool}: leveldb is read and not written; take lmdb, which Caffe's Data layers read as well")
    if backend != "lmdb":
        raise UsageError(f"{tool}: unknown database backend '{backend}' (known: lmdb)")


def check_new(path: Path) -> None:
    """Raise InputError where something is in the way."""
    if path.exists() or path.is_symlink():
        raise InputError(path, "no such file or folder yet: a new database is written there", "one")


@contextmanager
def new_lmdb(path: Path) -> Iterator[Put]:
    """Yield ``put(key, value)``, for keys in rising order.  Raises InputError where there is something already."""
    check_new(path)
    with atomic_directory(path) as part:
        try:
            with lmdb.open(str(part), map_size=_ROOM, sync=False) as env:
                pending: list[tuple[bytes, bytes]] = []
                held = 0

                def put(key: bytes, value: bytes) -> None:
                    nonlocal held
                    if not 0 < len(key) <= LONGEST_KEY:
                        raise InputError(path, f"keys of 1 to {LONGEST_KEY} bytes", f"{len(key)}: {key[:60]!r}...")
                    pending.append((key, value))
                    held += len(value)
                    if len(pending) >= _RECORDS or held >= _BYTES:
                        _commit(env, pending)
                        held = 0

                yield put
                _commit(env, pending)
                env.sync(True)
        except lmdb.Error as error:
            raise StorageError(f"{path}: expected to write an LMDB, found: {error}") from None


def _commit(env: lmdb.Environment, pending: list[tuple[bytes, bytes]]) -> None:
    while pending:
        try:
            with env.begin(write=True) as txn:
                for key, value in pending:
                    txn.put(key, value)
            pending.clear()
        except lmdb.MapFullError:
            env.set_mapsize(2 * env.info()["map_size"])
