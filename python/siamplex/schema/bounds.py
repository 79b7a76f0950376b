"""Restricts where the paths in a prototxt may lead.

A prototxt may come from anybody.  What it names to read or write must lie in the working folder, in its
own folder or in its run's, symbolic links followed, unless the person who runs it allows more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from siamplex.errors import InputError


@dataclass(frozen=True)
class Bounds:
    """Folders that paths must stay in; none at all means anywhere."""

    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, prototxt: str | Path) -> Bounds:
        """The working folder, the prototxt's own and, where that is a run's solvers/ or prototxt/, the run's."""
        own = Path(prototxt).resolve().parent
        folders = [Path.cwd().resolve(), own]
        if own.name in ("solvers", "prototxt"):
            folders.append(own.parent)
        return cls(tuple(folders))

    def check(self, path: str | Path, source: str | Path) -> None:
        """Raise InputError where ``path``, named by ``source``, leads out of the folders."""
        try:
            target = Path(path).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, a circle of links
            raise InputError(source, "paths that can be", f"{path!r:.80}: {error}") from None
        if self.folders and not any(target.is_relative_to(folder) for folder in self.folders):
            where = " or ".join(dict.fromkeys(str(folder) for folder in self.folders))
            raise InputError(source, f"paths within {where} (--allow-outside lifts this)", str(path))


def here_or_beside(name: str, beside: Path, source: str | Path) -> Path:
    """The path that ``source`` names: of the working folder as in Caffe, or else ``beside``.  Raises InputError."""
    here = Path(name)
    try:
        return beside if not here.exists() and beside.exists() else here
    except (OSError, ValueError) as error:  # too long, a zero byte
        raise InputError(source, "paths that can be", f"{name!r:.80}: {error}") from None
