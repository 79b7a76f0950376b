"""Decides where conv1-3 start from: a file, or the substitute if it was asked for or the faces are drawn."""

from __future__ import annotations

from pathlib import Path

from siamplex.errors import InputError, UsageError
from siamplex.pairs.build import open_store


def drawn(pairs: Path) -> bool:
    """Whether all faces of a pair store were drawn by siamplex.  Raises InputError where there is no store."""
    entries = open_store(pairs).index.entries
    return bool(entries) and all(entry.synthetic for entry in entries)


def start_from(named: Path | None, if_there: Path | None, substitute: bool, pairs: Path) -> Path | None:
    """The file that conv1-3 start from; None is the substitute.

    ``named`` was asked for and must exist.  ``if_there`` is used if it exists.  Without a file, drawn faces start from
    the substitute; other faces only with ``substitute``.  ``pairs`` is the pair store of the run.  Raises InputError
    for a named file that is missing, UsageError where the substitute would be used unasked.
    """
    if named is not None:
        if not named.exists():
            raise InputError(named, "AlexNet's weights, as named", "nothing there")
        return named
    if if_there is not None and if_there.exists():
        return if_there
    if substitute:
        return None
    try:
        own = not drawn(pairs)
        whose = f"the faces of {pairs} are not drawn ones"
    except InputError as error:
        own, whose = True, f"whether faces are drawn cannot be told ({error.path}: {error.found})"
    if own:
        raise UsageError(
            f"no AlexNet weights{f' at {if_there}' if if_there else ''}, and {whose}: expected make weights, "
            "--alexnet FILE (ALEXNET=FILE), or --or-substitute (SUBSTITUTE=1) to start from a substitute"
        )
    return None
