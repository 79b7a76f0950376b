"""One run at a time in a snapshot folder: an advisory lock that ends with its process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamplex.errors import StorageError, UsageError


@contextmanager
def run_lock(prefix: str) -> Iterator[None]:
    """Hold ``PREFIX.lock``.  Raises UsageError while another process does, StorageError where it cannot be made."""
    path = Path(f"{prefix}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"{path}: expected to write it, found: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(handle, 32).decode("ascii", "replace").strip() or "?"
            raise UsageError(
                f"{path}: expected no other run with this snapshot prefix, found process {owner} at it"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
