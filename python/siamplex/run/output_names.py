"""Names of output files that share a stem: only endings of this package are removed, whatever dots a name has."""

from __future__ import annotations

from pathlib import Path


def without(path: Path, *endings: str) -> Path:
    """``path`` less the first of ``endings`` (``.json``, say) it has, in any letter case; else as it is."""
    for ending in endings:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.with_name(path.name[: -len(ending)])
    return path


def ending(stem: Path, what: str) -> Path:
    """``stem`` with an ending put behind it: ``study.a`` and ``.png`` give ``study.a.png``."""
    return stem.with_name(stem.name + what)
