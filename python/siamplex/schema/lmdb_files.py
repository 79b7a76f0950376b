"""Opening LMDB folders without trusting them: a file cut short would crash the library itself."""

from __future__ import annotations

import struct
import weakref
from pathlib import Path

import lmdb

from siamplex.errors import InputError

_MAGIC = 0xBEEFC0DE
_PAGE_HEADER = 16
_META = struct.Struct("<IIQQ48s48sQQ")  # magic, version, address, mapsize, two databases, last page, txn
_PAGE_SIZE = struct.Struct("<I")  # first word of the first database record


def check_whole(folder: str | Path) -> None:
    """Raise InputError unless ``folder/data.mdb`` is as long as its own header says."""
    folder = Path(folder)
    file = folder / "data.mdb"
    if not folder.is_dir():
        raise InputError(folder, "an LMDB folder", "nothing there" if not folder.exists() else "a file")
    try:
        size = file.stat().st_size
        with file.open("rb") as handle:
            head = handle.read(1 << 17)
    except OSError as error:
        raise InputError(file, "an LMDB data file", error.strerror or str(error)) from None
    last_page = page_size = 0
    newest = -1
    for start in (0, None):
        at = _PAGE_HEADER if start == 0 else page_size + _PAGE_HEADER
        if len(head) < at + _META.size:
            raise InputError(file, "a whole LMDB file", f"{size} bytes")
        magic, version, _, _, free_db, _, last, txn = _META.unpack_from(head, at)
        if magic != _MAGIC or version & 0xFF != 1:
            raise InputError(file, "an LMDB file", "other content")
        page_size = page_size or _PAGE_SIZE.unpack_from(free_db)[0]
        if not 512 <= page_size <= 65536:
            raise InputError(file, "an LMDB file", f"a page size of {page_size}")
        if txn > newest:
            newest, last_page = txn, last
    if size < (last_page + 1) * page_size:
        raise InputError(file, f"a whole LMDB file of {(last_page + 1) * page_size} bytes", f"{size} bytes")


_open: weakref.WeakValueDictionary[tuple[str, int, int], lmdb.Environment] = weakref.WeakValueDictionary()


def open_for_reading(folder: str | Path) -> lmdb.Environment:
    """Open an LMDB folder read-only, without a lock file.  Raises InputError.

    A process may open an LMDB only once: those who read the same folder share the environment.
    """
    check_whole(folder)
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
