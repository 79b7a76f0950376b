"""CSV files of losses, tests and learning.  A run appends to them; a resumed run continues them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from siamplex.errors import InputError, StorageError
from siamplex.run.durable import write_text
from siamplex.schema.csv_files import read_rows


class LossLog:
    """Appends rows to a CSV; drops rows from ``iteration`` on that an interrupted run left there."""

    def __init__(self, path: Path, header: Sequence[str], iteration: int) -> None:
        self.path = path
        kept = [",".join(header)]
        if iteration and path.exists():
            whole = path.read_text(encoding="utf-8", errors="replace").split("\n")[1:-1]  # a torn last line is dropped
            kept += [line for line in whole if _before(line, iteration) and line.count(",") == len(header) - 1]
        write_text(path, "\n".join(kept) + "\n")
        try:
            self._file = path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise StorageError(f"{path}: expected to write it, found: {error.strerror}") from None

    def row(self, *values: int | float | str | None) -> None:
        """Add one row; floats with the nine digits that tell float32 values apart."""
        texts = (f"{v:.9g}" if isinstance(v, float) else "" if v is None else str(v) for v in values)
        try:
            self._file.write(",".join(texts) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> StorageError:
        with suppress(OSError):  # unwritten rows stay in the buffer and are tried again
            self._file.close()
        return StorageError(f"{self.path}: expected to write it, found: {error.strerror}")

    def sync(self) -> None:
        """Bring all rows so far to the disk, before a snapshot that relies on them."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from None

    def __enter__(self) -> LossLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_logs(
    stack: ExitStack, prefix: str, iteration: int, tests: bool, learning: Sequence[str] = (), tested: bool = False
) -> dict[str, LossLog]:
    """Open PREFIX_losses.csv and, with ``tests``, PREFIX_test.csv, under the keys ``losses`` and ``test``.

    ``stack`` closes them.  ``learning`` are the columns of a PREFIX_learning.csv.  ``tested`` says that the snapshot to
    resume from was taken after its iteration's tests, so that their rows stay.
    """
    columns = {"losses": ["iteration", "loss", "lr"]}
    if tests:
        columns["test"] = ["iteration", "net", "output", "value"]
    if learning:
        columns["learning"] = list(learning)
    return {
        name: stack.enter_context(
            LossLog(Path(f"{prefix}_{name}.csv"), header, iteration + (tested and name != "losses"))
        )
        for name, header in columns.items()
    }


def _before(line: str, iteration: int) -> bool:
    first = line.split(",", 1)[0]
    return first.isdigit() and int(first) < iteration


def read_losses(path: str | Path) -> list[tuple[int, float, float | None]]:
    """(iteration, loss, rate) of each row of a losses.csv; the rate of the last row may be None.

    Raises InputError.
    """
    path = Path(path)
    rows: list[tuple[int, float, float | None]] = []
    table = read_rows(path, ("iteration", "loss", "lr"), "a losses.csv")
    for where, row in table:
        try:
            rate = row["lr"]
            rows.append((int(row["iteration"]), table.number(row["loss"]), table.number(rate) if rate else None))
        except ValueError as error:
            raise InputError(where, "iteration, loss, lr", str(error)) from None
    return rows


def read_tests(path: str | Path) -> list[tuple[int, int, str, float]]:
    """(iteration, number of the net, output, value) of each row of a test.csv.  Raises InputError."""
    found = []
    table = read_rows(path, ("iteration", "net", "output", "value"), "a test.csv")
    for where, row in table:
        try:
            found.append((int(row["iteration"]), int(row["net"]), row["output"], table.number(row["value"])))
        except ValueError as error:
            raise InputError(where, "iteration, net, output, value", str(error)) from None
    return found
