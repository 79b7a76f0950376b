"""Reading and writing prototxt text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from siamplex.durable import write_text
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import locations, messages
from siamplex.schema.bounds import Bounds, here_or_beside
from siamplex.schema.file_kinds import (
    DEPLOY,
    EMPTY,
    JSON,
    LOG,
    MANIFEST,
    NET,
    PAGE,
    POINTER,
    SOLVER,
    TRAIN_VAL,
    kind_of_text,
    words_for,
)
from siamplex.schema.instead import instead

ANYWHERE = Bounds()
MAX_BYTES = 8 << 20  # far above any net; a wrong file is not read whole


@dataclass(frozen=True)
class Prototxt:
    """A parsed prototxt: the message, the file it came from, and the line of each field."""

    message: Any
    path: Path
    lines: dict[locations.Path, int]
    bounds: Bounds = ANYWHERE

    def find(self, name: str) -> Path:
        """A path this prototxt names: of the working folder as in Caffe, or else beside the prototxt.

        Raises InputError where it leads out of bounds.
        """
        found = here_or_beside(name, self.path.parent / name, self.path)
        self.bounds.check(found, self.path)
        return found

    def missing(self, name: str) -> str:
        """What to say of a path this prototxt names where nothing lies: where it was looked for, where it may be."""
        own = self.path.resolve().parent
        said = f"nothing there, neither in {Path.cwd()} nor in {own}"
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return "nothing there"
        if (own / name).exists():  # of no use to who looks in the working folder alone
            return f"nothing there in {Path.cwd()}; {own / name} is there: run the command in {own}"
        above = next((folder for folder in own.parents if (folder / name).exists()), None)
        if above is None:
            return f"{said} (its paths are relative to the folder the command runs in)"
        return f"{said}; {above / name} is there: run the command in {above}"

    def line(self, *path: str | int) -> int | None:
        """Line of the field at ``path``, or of the nearest field around it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def error(self, what: str, *path: str | int) -> PrototxtError:
        """The error to raise for a fault at ``path``."""
        return PrototxtError(self.path, self.line(*path), what)


def read(path: str | Path, message: str, bounds: Bounds = ANYWHERE) -> Prototxt:
    """Parse the prototxt at ``path`` as ``message`` (``"NetParameter"``, ``"SolverParameter"``).

    ``bounds`` are where the paths in it may lead.

    Raises InputError where it cannot be read, PrototxtError (with its line) where it cannot be
    parsed or uses a field this package does not know.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(path, f"a prototxt of at most {MAX_BYTES} bytes", "a larger file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        wanted = SOLVER if message == "SolverParameter" else NET
        raise InputError(path, "a readable prototxt", instead(path, wanted, error.strerror or str(error))) from None
    except UnicodeDecodeError:
        raise InputError(path, "a prototxt (text)", words_for(path, "a binary file")) from None
    _check_kind(path, text, message)
    return parse(text, message, path, bounds)


_NETS = (NET, TRAIN_VAL, DEPLOY)
_NO_PROTOTXT = (EMPTY, JSON, MANIFEST, LOG, POINTER, PAGE)


def _check_kind(path: Path, text: str, message: str) -> None:
    """Refuse a solver where a net is wanted, a net where a solver is, and text that is neither.  Raises InputError."""
    kind = kind_of_text(text[:MAX_BYTES].encode())
    if message == "SolverParameter" and kind.name in (*_NETS, *_NO_PROTOTXT):
        raise InputError(path, "a solver prototxt", instead(path, SOLVER, kind.words))
    if message == "NetParameter" and kind.name in (SOLVER, *_NO_PROTOTXT):
        raise InputError(path, "a net prototxt", instead(path, NET, kind.words))


def parse(text: str, message: str, path: str | Path = "<text>", bounds: Bounds = ANYWHERE) -> Prototxt:
    """Parse prototxt text; see :func:`read`."""
    parsed = getattr(messages, message)()
    try:
        text_format.Parse(text, parsed)
    except text_format.ParseError as error:
        raise _readable(Path(path), error) from None
    except RecursionError:
        raise PrototxtError(path, None, "messages are nested too deeply") from None
    return Prototxt(parsed, Path(path), locations.locate(text), bounds)


def _readable(path: Path, error: text_format.ParseError) -> PrototxtError:
    found = re.match(r"(\d+):\d+ ?: (.*)", str(error), re.DOTALL)
    line = int(found.group(1)) if found else error.GetLine()
    what = (found.group(2) if found else str(error)).replace("\n", " ")
    unknown = re.search(r'"caffe\.(\w+)" has no field named "(\w+)"', what)
    if unknown:
        what = f"field '{unknown.group(2)}' of {unknown.group(1)} is not supported"
    value = re.search(r'Enum type "caffe\.\w+\.(\w+)" has no value named (\w+)', what)
    if value:
        what = f"{value.group(1)} has no value {value.group(2)}"
    return PrototxtError(path, line, what)


def to_text(message: Any) -> str:
    """Prototxt text of a message, shaped as Caffe users write it."""
    return str(text_format.MessageToString(message))


def write(path: str | Path, message: Any, header: str = "") -> None:
    """Write ``message`` to ``path`` as prototxt, ``header`` lines first as ``#`` comments."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    write_text(path, comment + to_text(message))
