"""Stamps: a step whose inputs, options and outputs have not changed need not be done again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import siamplex
from siamplex.durable import sha256, write_text

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
        self._options = {"version": siamplex.__version__, **{k: str(v) for k, v in sorted(options.items())}}
        self._inputs, self._outputs = list(inputs), list(outputs)

    def unchanged(self) -> bool:
        """Whether the stamp says that just this was done, and its outputs are still there."""
        try:
            told = json.loads(self._stamp.read_text(encoding="utf-8"))
            if told["options"] != self._options:
                return False
            if set(told["inputs"]) != set(map(str, self._inputs)):
                return False
            if any(told["outputs"].get(str(p)) != _state(p) for p in self._outputs):
                return False
            return all(self._same(p, told["inputs"][str(p)]) for p in self._inputs)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False

    def _same(self, path: Path, told: Mapping[str, Any]) -> bool:
        state = _state(path)
        if state == told["state"]:
            return True
        if "missing" in state or not told.get("sha256"):
            return False
        return sha256(path) == told["sha256"]  # touched, perhaps, but with the same content

    def record(self) -> None:
        """Remember that the step is done."""
        inputs = {}
        for path in self._inputs:
            state = _state(path)
            known = "missing" not in state and _size(state) <= _TOO_LARGE
            inputs[str(path)] = {"state": state, "sha256": sha256(path) if known else None}
        outputs = {str(path): _state(path) for path in self._outputs}
        content = {"options": self._options, "inputs": inputs, "outputs": outputs}
        write_text(self._stamp, json.dumps(content, indent=1) + "\n")
