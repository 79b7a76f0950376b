"""Opens LMDB folders after checking them: a damaged or crafted file would crash the library itself."""

from __future__ import annotations

import mmap
import struct
import weakref
from pathlib import Path

import lmdb

from siamplex.errors import InputError
from siamplex.schema.file_kinds import LMDB
from siamplex.schema.instead import instead
from siamplex.schema.lmdb_tree import Database, TreeError, check_tree

_MAGIC = 0xBEEFC0DE
_PAGE_HEADER = 16
_META = struct.Struct("<IIQQ48s48sQQ")  # magic, version, address, mapsize, two databases, last page, txn
_DATABASE = struct.Struct("<IHHQQQQQ")  # pad, flags, depth, branches, leaves, overflows, entries, root
_PAGE_SIZES = tuple(1 << n for n in range(9, 17))
_INTEGER_KEYS = 8  # what the database of free pages has for flags


def check(folder: str | Path) -> None:
    """Raise InputError unless ``folder/data.mdb`` is whole and its pages make a tree that is safe to follow."""
    folder = Path(folder)
    file = folder / "data.mdb"
    if not file.is_file():
        raise InputError(folder, "an LMDB folder", instead(folder, LMDB, "a file"))
    try:
        size = file.stat().st_size
        if size < 2 * _PAGE_HEADER:
            raise InputError(file, "a whole LMDB file", f"{size} bytes")
        with file.open("rb") as handle:
            buffer = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise InputError(file, "an LMDB data file", error.strerror or str(error)) from None
    _check(file, buffer)


def _check(file: Path, buffer: memoryview) -> None:
    page_size, newest, last_page = 0, -1, 0
    database = Database(0, 0, 0, 0)
    for number in (0, 1):
        at = number * page_size + _PAGE_HEADER
        if len(buffer) < at + _META.size:
            raise InputError(file, "a whole LMDB file", f"{len(buffer)} bytes")
        magic, version, _, _, free_db, main_db, last, txn = _META.unpack_from(buffer, at)
        if magic != _MAGIC or version & 0xFFFF != 1:
            raise InputError(file, "an LMDB file", "other content")
        given, free_flags = _DATABASE.unpack(free_db)[:2]
        page_size = page_size or given
        if given != page_size or page_size not in _PAGE_SIZES or free_flags & ~_INTEGER_KEYS:
            raise InputError(file, "an LMDB file", f"a page size of {given}, flags {free_flags}")
        if txn > newest:
            newest, last_page = txn, last
            _, flags, depth, _, _, _, entries, root = _DATABASE.unpack(main_db)
            database = Database(flags, depth, entries, root)
    if len(buffer) < (last_page + 1) * page_size:
        raise InputError(file, f"a whole LMDB file of {(last_page + 1) * page_size} bytes", f"{len(buffer)} bytes")
    try:
        check_tree(buffer, page_size, last_page + 1, database)
    except TreeError as error:
        raise InputError(file, "an LMDB whose pages make a tree", str(error)) from None


_open: weakref.WeakValueDictionary[tuple[str, int, int], lmdb.Environment] = weakref.WeakValueDictionary()


def open_for_reading(folder: str | Path) -> lmdb.Environment:
    """Open an LMDB folder read-only, without a lock file.  Raises InputError.

    A process may open an LMDB only once: readers of the same folder share the environment.
    """
    check(folder)
    stat = (Path(folder) / "data.mdb").stat()
    key = (str(Path(folder).resolve()), stat.st_ino, stat.st_mtime_ns)
    found = _open.get(key)
    if found is None:
        try:
            found = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise InputError(folder, "an LMDB folder", str(error)) from None
        _open[key] = found
    return found
