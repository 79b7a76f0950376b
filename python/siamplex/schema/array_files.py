"""Reading ``.npz`` archives without trusting them: sizes are checked before any array is made."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from siamplex.errors import InputError
from siamplex.schema.file_kinds import EMBEDDING, NPZ, kind_of
from siamplex.schema.instead import instead

_KINDS = "fiubU"  # numbers, truth values and text; never objects, which would need pickle


def read_arrays(path: str | Path, what: str, compressed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive as ``numpy.savez`` writes it: stored.  Raises InputError.

    With ``compressed``, members may be deflated (``numpy.savez_compressed``), and all of them together
    take at most that many bytes in memory.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            claimed = sum(info.file_size for info in members)
            if compressed and claimed > compressed:
                raise ValueError(f"arrays of {claimed} bytes, more than {compressed}")
            kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if compressed else (zipfile.ZIP_STORED,)
            return {info.filename.removesuffix(".npy"): _read(archive, info, kinds) for info in members}
    except OSError as error:
        raise InputError(path, what, instead(path, EMBEDDING, error.strerror or str(error))) from None
    except (ValueError, TypeError, KeyError, EOFError, SyntaxError, NotImplementedError, RuntimeError, MemoryError,
            zipfile.BadZipFile, OverflowError, RecursionError, zipfile.LargeZipFile, zlib.error) as error:  # fmt: skip
        found = f"{type(error).__name__}: {error}".replace("\n", " ")
        kind = kind_of(path)
        damaged = kind is None or kind.name in (NPZ, EMBEDDING)  # the right kind of file, but for this
        raise InputError(path, what, found if damaged else instead(path, EMBEDDING, found)) from None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, kinds: tuple[int, ...]) -> npt.NDArray[Any]:
    stored = info.compress_type == zipfile.ZIP_STORED
    if info.compress_type not in kinds or (stored and info.file_size != info.compress_size):
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as handle:
        version = npy.read_magic(handle)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(handle)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in _KINDS or dtype.hasobject or min(shape, default=0) < 0 or size > info.file_size:
            raise ValueError(f"{info.filename} claims {shape} of {dtype}")
        data = handle.read(size)
        if len(data) != size:
            raise ValueError(f"{info.filename} breaks off")
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")
