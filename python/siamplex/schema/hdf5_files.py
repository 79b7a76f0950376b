"""HDF5 files: reads and writes arrays of numbers as float32, and follows nothing out of the file.

The format lets a file refer to others (external and soft links, external and virtual storage) and declare arrays far
larger than itself.  Here only what the file itself holds is read, and sizes are checked before memory is allocated.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.errors import InputError
from siamplex.run.durable import HashingWriter, atomic_file
from siamplex.schema.blobs import MAX_AXES, Array
from siamplex.schema.file_kinds import HDF5, kind_of
from siamplex.schema.instead import instead

MAGIC = b"\x89HDF\r\n\x1a\n"
_RATIO = 1100  # bytes that deflate makes of one at best, and some
_TEXT = 1 << 16
# all that h5py raises for files that are damaged, whatever is wrong with them
_FAULTS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


class Hdf5Error(ValueError):
    """The file does not hold what it should."""


def is_hdf5(path: str | Path) -> bool:
    """Whether a file begins as HDF5 does.  Raises nothing."""
    try:
        with Path(path).open("rb") as handle:
            return handle.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


class Hdf5Group:
    """A group of an open file: names of what it holds, arrays and groups by name.  All raise Hdf5Error."""

    def __init__(self, group: Any, size: int) -> None:
        self._group, self._size = group, size

    def names(self) -> list[str]:
        """Names in byte order."""
        return [str(name) for name in self._group]

    def group(self, name: str) -> Hdf5Group:
        """The group of a name."""
        import h5py

        found = self._item(name)
        if not isinstance(found, h5py.Group):
            raise Hdf5Error(f"'{name}', which is no group")
        return Hdf5Group(found, self._size)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array of numbers that the file really holds."""
        return tuple(int(size) for size in self._numbers(name).shape)

    def array(self, name: str) -> Array:
        """An array of numbers, float32."""
        found = self._numbers(name)
        return np.asarray(found[()], dtype=np.float32)

    def rows(self, name: str, rows: list[int]) -> Array:
        """Some rows of an array, by rising numbers, float32."""
        found = self._numbers(name)
        return np.asarray(found[rows], dtype=np.float32)

    def integer(self, name: str) -> int:
        """A single whole number."""
        found = self._numbers(name)
        if found.dtype.kind not in "iu" or math.prod(found.shape) != 1:
            raise Hdf5Error(f"'{name}', which is no whole number")
        return int(np.asarray(found[()]).reshape(-1)[0])

    def text(self, name: str) -> str:
        """A text of fixed length."""
        import h5py

        found = self._item(name)
        plain = isinstance(found, h5py.Dataset) and found.dtype.kind == "S" and found.shape in ((), (1,))
        if not plain or not 0 < found.dtype.itemsize <= _TEXT:
            raise Hdf5Error(f"'{name}', which is no text")
        self._check_storage(found, name)
        raw = bytes(np.asarray(found[()]).reshape(-1)[0])
        try:
            return raw.split(b"\0")[0].decode()
        except UnicodeDecodeError:
            raise Hdf5Error(f"'{name}', which is no UTF-8") from None

    def _item(self, name: str) -> Any:
        import h5py

        if "/" in name or name in ("", ".") or name not in self._group:  # a path into a group is no name
            raise Hdf5Error(f"no '{name}'")
        if not isinstance(self._group.get(name, getlink=True), h5py.HardLink):
            raise Hdf5Error(f"'{name}', a link that leads elsewhere")
        return self._group[name]

    def _numbers(self, name: str) -> Any:
        """A dataset of numbers that is all there."""
        import h5py

        found = self._item(name)
        if not isinstance(found, h5py.Dataset):
            raise Hdf5Error(f"'{name}', which is no dataset")
        if found.dtype.kind not in "fiu" or found.dtype.itemsize > 8 or found.shape is None:
            raise Hdf5Error(f"'{name}', which holds no numbers but {found.dtype}")
        if len(found.shape) > MAX_AXES or max(found.shape, default=0) >= 2**31:
            raise Hdf5Error(f"'{name}' of shape {found.shape}")
        self._check_storage(found, name)
        return found

    def _check_storage(self, found: Any, name: str) -> None:
        """Refuse an array that lies in other files, or is larger than what is stored of it can be."""
        if found.is_virtual or found.external:
            raise Hdf5Error(f"'{name}', which lies in other files")
        stored = min(int(found.id.get_storage_size()), self._size)
        room = stored * _RATIO if found.chunks else stored
        claimed = math.prod(found.shape) * found.dtype.itemsize
        chunk = math.prod(found.chunks) * found.dtype.itemsize if found.chunks else 0
        if claimed > room or (claimed and chunk > room):
            raise Hdf5Error(f"'{name}' of shape {found.shape} with {stored} bytes stored")


@contextmanager
def opened(path: str | Path, what: str) -> Iterator[Hdf5Group]:
    """The root of an HDF5 file that should be a ``what``; the file is open inside the block.

    Raises InputError, also for an :class:`Hdf5Error` or a damage that is met inside the block.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(path, f"a readable {what}", instead(path, what, "no file"))
        import h5py

        with h5py.File(path, "r", locking=False) as file:  # reading needs no write access, not even for a lock
            yield Hdf5Group(file, path.stat().st_size)
    except PermissionError as error:
        raise InputError(path, f"a readable {what}", instead(path, what, error.strerror or str(error))) from None
    except Hdf5Error as error:
        raise InputError(path, f"a whole {what}", _found(path, what, str(error))) from None
    except _FAULTS as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(path, f"a whole {what}", _found(path, what, said)) from None


def _found(path: Path, what: str, said: str) -> str:
    """What is wrong with a file: ``said``, unless it is another thing than it should be."""
    kind = kind_of(path)
    if kind is not None and kind.name in (HDF5, what):
        return said if kind.name == what else f"{kind.words} ({said})"
    return instead(path, what, said)


def write(path: str | Path, fill: Callable[[Any], None]) -> tuple[int, str]:
    """Write the HDF5 file that ``fill`` makes of an empty ``h5py.File``, whole or not at all; its size and SHA-256.

    It is made in memory: the library leaves a file that it could not write to its end open for good.
    Raises StorageError.
    """
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w", libver=("earliest", "latest")) as file:  # the earliest form, which Caffe's library reads
        fill(file)
    with atomic_file(path) as handle:
        out = HashingWriter(handle)
        out.write(image.getbuffer())
    return out.size, out.sha256


def add_array(group: Any, name: str, array: Array) -> None:
    """Add a float32 dataset, in one piece."""
    group.create_dataset(name, data=np.asarray(array, dtype="<f4", order="C"), track_times=False)


def add_integer(group: Any, name: str, value: int) -> None:
    """Add a 32-bit whole number, as an array of one."""
    group.create_dataset(name, data=np.array([value], "<i4"), track_times=False)


def add_text(group: Any, name: str, value: str) -> None:
    """Add a text that ends in a zero byte, as C programs write one."""
    import h5py

    data = value.encode() + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(data))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    made = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(data, dtype=f"S{len(data)}"), mtype=kind)
