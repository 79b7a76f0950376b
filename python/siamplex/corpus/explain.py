"""Explains how a layout reads some files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from siamplex.corpus.emotions import NAMES
from siamplex.corpus.fitting import Fitted, Reading

SHOWN = 10
_T = TypeVar("_T")


def explain(found: Fitted, folder: Path, count: int = SHOWN) -> str:
    """``count`` files, from all over the folder: taken ones, and some that are set aside or do not fit."""
    unfit = _spread(found.unfit, min(len(found.unfit), count // 5))
    aside = [r for r in found.readings if r.aside]
    others = _spread(aside, min(len(aside), count // 5 if found.taken else count))
    taken = _spread(found.taken, count - len(unfit) - len(others))
    lines = [found.words(), f"names as {found.layout.example}: {found.layout.pattern.pattern}"]
    lines += [_line(r, folder) for r in sorted([*taken, *others], key=lambda r: r.path)]
    lines += [f"{_name(p, folder)}: does not fit" for p in unfit]
    return "\n".join(lines)


def _spread(items: Sequence[_T], count: int) -> list[_T]:
    """``count`` of the items, evenly spaced."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _line(reading: Reading, folder: Path) -> str:
    groups = ", ".join(f"{name} {text}" for name, text in reading.groups.items() if text)
    emotion = NAMES.get(reading.emotion, reading.emotion)
    if reading.said and reading.said != reading.groups.get("emotion"):
        groups += f", label {reading.said}"
    verdict = f"left out: {reading.aside}" if reading.aside else f"subject {reading.subject}, {emotion}"
    return f"{_name(reading.path, folder)}: {groups} -> {verdict}"
