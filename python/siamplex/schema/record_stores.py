"""Stores of records in key order, as Caffe's Data layers read them: LMDB and, if plyvel is installed, LevelDB."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import lmdb

from siamplex.errors import InputError
from siamplex.schema.file_kinds import LEVELDB
from siamplex.schema.instead import instead
from siamplex.schema.lmdb_files import open_for_reading

BACKENDS = ("LMDB", "LEVELDB")


class RecordStore(Protocol):
    """Records in the order of their keys; they can be read repeatedly."""

    entries: int

    def records(self) -> Iterator[Any]:
        """Each record's bytes (a buffer that holds until the next is asked for).  Raises InputError."""


class LmdbStore:
    """An LMDB folder; several may read the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env = open_for_reading(folder)
        self.entries = int(self._env.stat()["entries"])

    def records(self) -> Iterator[Any]:
        # as buffers: only the records looked at are read from disk
        try:
            with self._env.begin(buffers=True) as txn, txn.cursor() as cursor:
                yield from cursor.iternext(keys=False, values=True)
        except lmdb.Error as error:
            raise InputError(self._folder, "a whole LMDB", str(error)) from None


def _stand_in(owner: object, folder: Path) -> Path:
    """A folder of links to a LevelDB's tables and copies of the rest: its library writes when it opens one.

    It goes with its owner.  Raises OSError.
    """
    made = Path(tempfile.mkdtemp(prefix="siamplex_"))
    weakref.finalize(owner, shutil.rmtree, made, ignore_errors=True)
    for file in folder.iterdir():
        if file.suffix in (".ldb", ".sst"):
            (made / file.name).symlink_to(file.resolve())
        elif file.name != "LOCK":
            shutil.copyfile(file, made / file.name)
    return made


class LevelDbStore:
    """A LevelDB folder, as BVLC's examples of 2014 write them; one process at a time can open it."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "CURRENT").is_file():
            raise InputError(folder, "a LevelDB folder", instead(folder, LEVELDB, "no CURRENT in it"))
        try:
            import plyvel
        except ImportError:
            raise InputError(
                folder, "plyvel to read LevelDB with (pip install 'siamplex[leveldb]'), or an LMDB", "no plyvel"
            ) from None
        self._folder, self._error = folder, plyvel.Error
        try:
            opened = folder if os.access(folder, os.W_OK) else _stand_in(self, folder)
            self._db = plyvel.DB(str(opened), create_if_missing=False, paranoid_checks=True)
            with closing(self._db.iterator(include_value=False)) as keys:
                self.entries = sum(1 for _ in keys)
        except (plyvel.Error, OSError) as error:
            raise InputError(folder, "a LevelDB folder", str(error)) from None

    def records(self) -> Iterator[Any]:
        try:
            with closing(self._db.iterator(include_key=False, verify_checksums=True, fill_cache=False)) as values:
                yield from values
        except (self._error, OSError) as error:
            raise InputError(self._folder, "a whole LevelDB", str(error)) from None


_open: weakref.WeakValueDictionary[str, LevelDbStore] = weakref.WeakValueDictionary()


def open_store(folder: Path, backend: str = "LMDB") -> RecordStore:
    """Open a store; a LevelDB that this process has open already is shared.  Raises InputError."""
    if backend != "LEVELDB":
        return LmdbStore(folder)
    name = str(folder.resolve())
    found = _open.get(name)
    if found is None:
        found = _open[name] = LevelDbStore(folder)
    return found
