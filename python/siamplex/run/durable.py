"""Outputs appear whole or not at all: write beside, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from siamplex.errors import InputError, StorageError
from siamplex.schema.file_kinds import words_for

_PART = ".part"


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(_existing_parent(path)).free
        return StorageError(f"{path}: expected room to write, found a full disk ({free} bytes free)")
    return StorageError(f"{path}: expected to write it, found: {error.strerror or error}")


def _existing_parent(path: Path) -> Path:
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


def free_bytes(path: Path) -> int:
    """Bytes free on the disk that holds (or would hold) ``path``."""
    return shutil.disk_usage(_existing_parent(path)).free


def require_room(path: Path, needed: int, what: str) -> None:
    """Raise StorageError unless ``needed`` bytes (and 1 % more) are free where ``path`` goes."""
    free = free_bytes(path)
    if needed * 1.01 > free:
        raise StorageError(f"{path}: expected {needed / 1e9:.2f} GB free for {what}, found {free / 1e9:.2f} GB")


def _fsync_dir(path: Path) -> None:
    with suppress(OSError):  # some filesystems refuse fsync on a directory
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sweep(folder: Path, name: str) -> None:
    """Remove half-written files ``name...`` that killed processes left in ``folder``.

    A folder that was moved aside for its replacement gets its name back if the replacement never came.
    """
    pattern = re.compile(rf"\.({re.escape(name)}.*)\.(\d+)\.(part|old)")
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        left = pattern.fullmatch(path.name)
        if not left or _runs(int(left.group(2))):
            continue
        with suppress(OSError):  # somebody else's to remove
            target = folder / left.group(1)
            if left.group(3) == "old" and not target.exists():
                path.rename(target)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it is renamed to ``path`` only when all went well.

    Raises StorageError when the disk is full or not writable; the partial file is removed.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
    except OSError as error:
        raise _storage_error(path, error) from None
    part = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        yield part
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
        _fsync_dir(path.parent)
    except OSError as error:
        _forget(part)
        raise _storage_error(path, error) from None
    except BaseException:
        _forget(part)
        raise


def _forget(part: Path) -> None:
    with suppress(OSError):  # a file system that cannot be written has no part of it either
        part.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Remove a file, where there is one.  Raises StorageError where that cannot be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: expected to remove it, found: {error.strerror or error}") from None


def require_writable(path: Path) -> None:
    """Raise StorageError where ``path``, or the folder it is to lie in, cannot be written."""
    place = path if path.exists() else _existing_parent(path)
    if not os.access(place, os.W_OK) or (path.exists() and not os.access(_existing_parent(path.parent), os.W_OK)):
        raise StorageError(f"{path}: expected a place that can be written, found that {place} cannot")


@contextmanager
def atomic_file(path: str | Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """``open(path, mode)`` whose result appears at ``path`` only when the block ends well."""
    with atomic_path(path) as part, part.open(mode, **options) as handle:
        yield handle


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8, newlines kept) to ``path``, whole or not at all."""
    with atomic_file(path, "w", encoding="utf-8", newline="") as handle:
        handle.write(text)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``; it replaces ``path`` only when all went well."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        sweep(path.parent, path.name)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                with file.open("rb+") as handle:
                    os.fsync(handle.fileno())
        if path.exists():
            path.rename(old)
        part.rename(path)
        _fsync_dir(path.parent)
    except OSError as error:
        raise _storage_error(path, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists():
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(path)


_remembered: dict[tuple[str, int, int, int], str] = {}


def _identity(path: Path) -> tuple[str, int, int, int]:
    stat = path.stat()
    return str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns


def remember_sha256(path: Path, digest: str) -> None:
    """Store the known SHA-256 of a large input for :func:`sha256`, so that a command hashes it once.

    It is valid while the file's size and time are unchanged.  Use it for inputs only, never for what is verified.
    """
    _remembered[_identity(path)] = digest


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes, or of a folder's files in name order (an LMDB, say).

    An LMDB's ``lock.mdb`` is left out: readers change it.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file() and p.name != "lock.mdb"):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
        return digest.hexdigest()
    try:
        if _remembered and (known := _remembered.get(_identity(path))):
            return known
        with path.open("rb") as handle:
            while chunk := handle.read(1 << 22):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        found = words_for(path, getattr(error, "strerror", None) or str(error))
        raise InputError(path, "a readable file", found) from None
    return digest.hexdigest()


def hash_bytes(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


class HashingWriter:
    """A binary file that hashes what passes through it (so that a manifest costs no second read)."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle, self._digest, self.size = handle, hashlib.sha256(), 0

    def write(self, data: Any) -> None:
        """Write bytes, or any C-contiguous buffer."""
        view = memoryview(data).cast("B")
        self._handle.write(view)
        self._digest.update(view)
        self.size += view.nbytes

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()
