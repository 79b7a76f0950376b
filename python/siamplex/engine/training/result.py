"""The result of a run, ``PREFIX_result.json``: the snapshot that later steps use, and why training ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from siamplex.errors import InputError
from siamplex.run.durable import write_text
from siamplex.schema.json_files import read_object

_FORMAT = 2
BY_LENGTH, BY_VALIDATION = "max_iter", "validation"


@dataclass(frozen=True)
class Result:
    """The snapshot a run ended with.

    ``iteration`` and ``caffemodel`` (a name in the prefix's folder) are those of the snapshot that later steps use.
    ``last`` is the iteration at which training ended, ``ended`` the reason (``max_iter`` or ``validation``).
    ``lowest`` is (iteration, loss) of the lowest validation loss, ``patience`` the number of tests without improvement
    that was allowed (0: no early stopping).  ``origin`` is the hash of the run's course
    (:class:`~siamplex.engine.training.course.Course`).
    """

    iteration: int
    caffemodel: str
    last: int
    ended: str = BY_LENGTH
    lowest: tuple[int, float] | None = None
    patience: int = 0
    origin: str = ""

    def write(self, prefix: str) -> None:
        """Write ``PREFIX_result.json``, one key a line, since make reads it."""
        write_text(path_of(prefix), json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def read(cls, prefix: str | Path) -> Result | None:
        """Read it; None where there is none.  Raises InputError."""
        path = path_of(prefix)
        if not path.exists():
            return None
        what = "the result of a training run (siamplex train)"
        content = read_object(path, what)
        try:
            lowest = content["lowest"]
            origin = content["origin"] if content["format"] != 1 else ""
            if content["format"] not in (1, _FORMAT) or not isinstance(origin, str):
                raise ValueError("another format")
            return cls(
                int(content["iteration"]), Path(str(content["caffemodel"])).name, int(content["last"]),
                str(content["ended"]), None if lowest is None else (int(lowest[0]), float(lowest[1])),
                int(content["patience"]), origin,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(path, what, f"no {error}") from None


def path_of(prefix: str | Path) -> Path:
    """``PREFIX_result.json``."""
    return Path(f"{prefix}_result.json")
