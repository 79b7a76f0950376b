"""Text files that list other files, one a line, as Caffe's HDF5Data and ImageData read them."""

from __future__ import annotations

import os
from pathlib import Path

from siamplex.errors import InputError
from siamplex.schema.file_kinds import EMPTY, LOG, TEXT, kind_of
from siamplex.schema.instead import instead

MAX_BYTES = 256 << 20
_LISTS = (TEXT, LOG)  # a list has no form of its own


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a list that should be a ``what``, as they stand but for their ends.

    Bytes that are no UTF-8 stay those of the file names.  Raises InputError for what is no text, or holds nothing.
    """
    kind = kind_of(path)
    if kind is not None and kind.name not in _LISTS:
        raise InputError(path, what, "an empty file" if kind.name == EMPTY else instead(path, what))
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(path, f"{what} of at most {MAX_BYTES} bytes", f"{size} bytes")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(path, what, instead(path, what, getattr(error, "strerror", None) or str(error))) from None
    if kind is None or b"\0" in data:
        raise InputError(path, what, "a binary file")
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return lines[:-1] if lines[-1] == "" else lines
