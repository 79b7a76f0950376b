"""The run record: what each command did to a run, appended to the run's ``run.json``.

A command appends one entry: options, versions, hashes of what it read and wrote, duration, outcome.  The record says
what was done; the audit compares the files themselves with the paper.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import siamplex
from siamplex.errors import InputError, StorageError
from siamplex.run.durable import sha256, write_text
from siamplex.schema.file_kinds import RUN
from siamplex.schema.instead import instead
from siamplex.schema.json_files import read_object

FILE = "run.json"
_FORMAT = 1
_TOO_LARGE = 1 << 30  # bytes beyond which a file's size must do
_FEW_PARTS = 40
_LIBRARIES = ("numpy", "torch", "protobuf", "lmdb", "opencv-python-headless", "matplotlib", "scipy", "scikit-learn")

# folders of a run that commands write into
_LAYOUT = {
    "faces", "pairs", "prototxt", "solvers", "weights", "stage1", "stage2", "features", "geometry", "figures",
    "similarity", "maps", "seeds", "multiverse", "audit", "report",
}  # fmt: skip


def run_of(output: Path) -> Path | None:
    """The run folder that an output belongs to: the nearest above it with a record, or by its layout.

    The working folder is a run folder only if it has a record already.
    """
    output = output.absolute()
    above = [output, *output.parents]
    for folder in above:
        if (folder / FILE).is_file():
            return folder
    by_layout = (folder.parent for folder in above if folder.name in _LAYOUT or folder.name == "index.csv")
    found = next(by_layout, None)
    return None if found == Path.cwd() else found


def check_run(run: Path) -> None:
    """Refuse what is not the folder of a run.  Raises InputError."""
    if not run.is_dir() or (run / "pairs.json").is_file():
        raise InputError(run, "the folder of a run", instead(run, RUN, "a file"))


def versions() -> dict[str, str]:
    """Versions of siamplex, Python and the libraries that compute."""
    found = {"siamplex": siamplex.__version__, "python": platform.python_version(), "system": platform.system()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hashes(paths: Sequence[Path], run: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files and folders, by their path from the run folder where they lie in it.

    Of a folder of few parts (a pair store: index, split, LMDBs, table) each part has its own.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        parts = sorted(path.iterdir()) if path.is_dir() and not (path / "data.mdb").exists() else []
        if 0 < len(parts) <= _FEW_PARTS:
            found |= hashes(parts, run)
        elif path.exists() and path.name != "lock.mdb":
            files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and p.name != "lock.mdb"]
            size = sum(p.stat().st_size for p in files)
            found[_name(path, run)] = {"bytes": size, "sha256": sha256(path) if size <= _TOO_LARGE else None}
    return found


def _name(path: Path, run: Path) -> str:
    try:
        return path.absolute().relative_to(run.absolute()).as_posix() or "."
    except ValueError:
        return str(path)


def read_record(run: Path) -> list[dict[str, Any]]:
    """The entries of a run, oldest first; none where there is no record.  Raises InputError."""
    path = run / FILE
    if not path.exists():
        return []
    content = read_object(path, "a run record")
    steps = content.get("steps")
    if not isinstance(steps, list) or content.get("format") != _FORMAT or not all(map(_is_step, steps)):
        raise InputError(path, f"a run record of format {_FORMAT}", "something else")
    return steps


def _is_step(step: Any) -> bool:
    """Whether an entry is one: its parts are objects, and files in them are described by objects."""
    if not isinstance(step, dict) or not all(isinstance(step.get(k, {}), dict) for k in ("options", "versions")):
        return False
    files = [step.get(name, {}) for name in ("inputs", "outputs")]
    return all(isinstance(f, dict) and all(isinstance(v, dict) for v in f.values()) for f in files)


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Two commands that end at once append one after the other."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        handle = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{run / FILE}: expected to write it, found: {error.strerror or error}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def append(run: Path, entry: dict[str, Any]) -> None:
    """Add an entry to the record of ``run``."""
    with _locked(run):
        steps = [*read_record(run), entry]
        write_text(run / FILE, json.dumps({"format": _FORMAT, "steps": steps}, indent=1) + "\n")


@dataclass(frozen=True)
class Told:
    """What a command reports: facts for the record, its exit code, whether there was anything to do."""

    facts: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    idle: bool = False


def recorded_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the record keeps of a command's options, as JSON has it."""
    left_out = ("command", "stamp", "module", "parser", "workers")
    return {name: _plain(value) for name, value in vars(args).items() if name not in left_out}


class Recording:
    """The record of one running command; ``close`` appends its entry."""

    def __init__(self, command: str, options: dict[str, Any]) -> None:
        self._command, self._options = command, options
        self._began = datetime.now(timezone.utc)
        self._clock = time.monotonic()
        self.facts: dict[str, Any] = {}

    def close(self, run: Path, inputs: Sequence[Path], outputs: Sequence[Path], outcome: str) -> None:
        """Append the entry; ``outcome`` is ``done`` or what went wrong."""
        append(
            run,
            {
                "command": self._command,
                "outcome": outcome,
                "began": self._began.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - self._clock, 3),
                "options": self._options,
                "versions": versions(),
                "inputs": hashes(inputs, run),
                "outputs": hashes(outputs, run),
                **self.facts,
            },
        )


def _plain(value: Any) -> Any:
    """An option as a JSON value."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    return str(value)
