"""Stamps: a step is skipped if its inputs, options and outputs have not changed."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import siamplex
from siamplex.run.durable import sha256, write_text

_NO_MATTER = ("stamp", "module", "parser", "workers")  # options that change nothing of what a step makes
_TOO_LARGE = 1 << 30  # beyond this, size and time of change must do


def _state(path: Path) -> dict[str, Any]:
    """Size and time of a file, or of each file in a folder."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != "lock.mdb")
        return {p.relative_to(path).as_posix(): _state(p) for p in files}
    try:
        stat = path.stat()
    except OSError:
        return {"missing": True}
    return {"size": stat.st_size, "time": stat.st_mtime_ns}


def _size(state: Mapping[str, Any]) -> int:
    if "size" in state:
        return int(state["size"])
    return sum(_size(s) for s in state.values() if isinstance(s, dict))


class Step:
    """One step of the pipeline with the stamp file that remembers it."""

    def __init__(
        self, stamp: Path, options: Mapping[str, Any], inputs: Sequence[Path], outputs: Sequence[Path]
    ) -> None:
        self._stamp = stamp
        self._root = stamp.resolve().parent
        named = {key: self._text(value) for key, value in sorted(options.items())}
        self._options = {"version": siamplex.__version__, **named}
        self._inputs = {self._name(path): path for path in inputs}
        self._outputs = {self._name(path): path for path in outputs}

    def _text(self, value: Any) -> str:
        """An option as text; of a path its name, of several the names of all."""
        if isinstance(value, Path):
            return self._name(value)
        if isinstance(value, (list, tuple)):
            return str([self._text(one) for one in value])
        return str(value)

    def _name(self, path: Path) -> str:
        """One name for all spellings of a path: from the stamp's folder where both lie in one run, else in full.

        So a run that is moved or copied has the stamps of what it holds.
        """
        target = path.resolve()
        return os.path.relpath(target, self._root) if target.is_relative_to(self._root.parent) else str(target)

    def unchanged(self) -> bool:
        """Whether the stamp records exactly this step, and its outputs are still there."""
        try:
            told = json.loads(self._stamp.read_text(encoding="utf-8"))
            if told["options"] != self._options:
                return False
            if set(told["inputs"]) != set(self._inputs) or set(told["outputs"]) != set(self._outputs):
                return False
            return all(
                _same(path, told[kind][name])
                for kind, files in (("outputs", self._outputs), ("inputs", self._inputs))
                for name, path in files.items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False

    def record(self) -> None:
        """Remember that the step is done."""
        content = {
            "options": self._options,
            "inputs": {name: _told(path) for name, path in self._inputs.items()},
            "outputs": {name: _told(path) for name, path in self._outputs.items()},
        }
        write_text(self._stamp, json.dumps(content, indent=1) + "\n")


def step_of(args: argparse.Namespace) -> Step:
    """The step of a command that was given ``--stamp``."""
    options = {name: value for name, value in vars(args).items() if name not in _NO_MATTER}
    return Step(Path(args.stamp), options, *args.module.files(args))


def _told(path: Path) -> dict[str, Any]:
    """The stamp's entry for a file or folder: its state and, unless it is too large, its hash."""
    state = _state(path)
    known = "missing" not in state and _size(state) <= _TOO_LARGE
    return {"state": state, "sha256": sha256(path) if known else None}


def _same(path: Path, told: Mapping[str, Any]) -> bool:
    """Whether a file or folder matches its stamp: untouched, or with the same content."""
    state = _state(path)
    if state == told["state"]:
        return True
    if "missing" in state or not told.get("sha256"):
        return False
    return sha256(path) == told["sha256"]
