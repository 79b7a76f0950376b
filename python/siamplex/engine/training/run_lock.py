"""An advisory lock that allows one training at a time in a folder; it is released however its process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from siamplex.errors import StorageError, UsageError
from siamplex.run.durable import sweep

_LOCK, _OWNER = ".training.lock", ".training.pid"


@contextmanager
def run_lock(prefix: str, leave_parts: bool = False) -> Iterator[None]:
    """Lock the folder of ``prefix``.

    Half-written files that a killed run of this prefix left there are removed, unless ``leave_parts``.

    A process started by the holder shares its lock, for instance siamplex's own engine run as the caffe binary.
    Raises UsageError while another process holds the lock, StorageError where the folder cannot be written.
    """
    folder = Path(prefix).parent
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        owner = _owner(folder)
        if owner == str(os.getppid()):
            yield
            return
        raise UsageError(f"{folder}: expected no other training in this folder, found process {owner} at it") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"{folder / _LOCK}: expected to write it, found: {reason}") from None
    try:
        if not leave_parts:
            (folder / _OWNER).write_text(f"{os.getpid()}\n", encoding="ascii")
            sweep(folder, f"{Path(prefix).name}_")
        yield
    finally:
        lock.release()


def check_not_held(prefix: str) -> None:
    """Raise UsageError while another process trains in the folder of ``prefix``."""
    folder = Path(prefix).parent
    if (folder / _LOCK).exists():
        with run_lock(prefix, leave_parts=True):
            pass


def _owner(folder: Path) -> str:
    """The process that last took the lock."""
    try:
        return (folder / _OWNER).read_text(encoding="ascii", errors="replace").strip()[:32] or "?"
    except OSError:
        return "?"
