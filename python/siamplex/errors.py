"""Errors a person can act on.

Every one prints as a single line naming the file, what was expected and what was found, and
ends the command with exit code 2::

    SiamplexError
    ├── InputError          a file or folder is missing, unreadable or not what it should be
    │   └── PrototxtError   ... and the fault has a line in a prototxt
    ├── UsageError          options that do not go together
    ├── StorageError        the disk is full or cannot be written
    ├── TrainingError       a run cannot go on (loss is NaN, shapes do not meet)
    └── Stopped             a run was asked to stop, and did (exit code 128 + the signal)
"""

from __future__ import annotations

from pathlib import Path


def printable(text: str) -> str:
    """``text`` on one line of printable characters: others, as a file name may have them, are shown escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class SiamplexError(Exception):
    """Base of every error this package raises on purpose.

    Its text is one line of printable characters, whatever a file had in it: others are shown escaped.
    """

    exit_code = 2

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class InputError(SiamplexError):
    """Bad input: says ``path: expected ..., found ...``."""

    def __init__(self, path: str | Path, expected: str, found: str) -> None:
        self.path, self.expected, self.found = str(path), expected, found
        super().__init__(f"{path}: expected {expected}, found {found}")


class PrototxtError(SiamplexError):
    """A fault in a prototxt: says ``path:line: what``."""

    def __init__(self, path: str | Path, line: int | None, what: str) -> None:
        self.path, self.line, self.what = str(path), line, what
        super().__init__(f"{path}:{line}: {what}" if line else f"{path}: {what}")


class UsageError(SiamplexError):
    """Options that do not make sense together."""


class StorageError(SiamplexError):
    """Output could not be written; nothing half-written is left."""


class TrainingError(SiamplexError):
    """A run cannot go on."""


class Stopped(SiamplexError):
    """A run ended because a signal asked for it; what it had is safe."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what)
        self.exit_code = 128 + number
