"""One training at a time in a folder: an advisory lock that ends with its process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamplex.durable import sweep
from siamplex.errors import StorageError, UsageError

_NAME = ".training.lock"


@contextmanager
def run_lock(prefix: str) -> Iterator[None]:
    """Hold the folder of ``prefix``; what a killed run of this prefix left half-written there is removed.

    Raises UsageError while another process holds it, StorageError where it cannot be written.
    """
    path = Path(prefix).parent / _NAME
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
            if owner == str(os.getppid()):  # it holds the folder for this process, its own engine
                yield
                return
            raise UsageError(
                f"{path.parent}: expected no other training in this folder, found process {owner} at it"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        sweep(path.parent, f"{Path(prefix).name}_")
        yield
    finally:
        os.close(handle)
