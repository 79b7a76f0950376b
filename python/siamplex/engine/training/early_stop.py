"""Early stopping: training ends once the validation loss has not improved for ``patience`` tests.

The snapshot with the lowest validation loss is then the result of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from siamplex.engine.training.loss_log import read_tests


def validation_output(names: Iterable[str]) -> str | None:
    """A test net's loss among its outputs: the solver's sum ``(loss)``, else ``loss``, else the first ``...loss``."""
    names = list(names)
    for wanted in ("(loss)", "loss"):
        if wanted in names:
            return wanted
    return next((name for name in names if name.lower().endswith("loss")), None)


def validation_losses(path: Path) -> list[tuple[int, float]]:
    """(iteration, loss) of the first test net in a PREFIX_test.csv; empty where it has none.  Raises InputError."""
    if not path.exists():
        return []
    rows = [(iteration, name, value) for iteration, net, name, value in read_tests(path) if net == 0]
    wanted = validation_output(name for _, name, _ in rows)
    return [(iteration, value) for iteration, name, value in rows if name == wanted]


def lowest(losses: Iterable[tuple[int, float]]) -> tuple[int, float] | None:
    """The first of the lowest losses, with its iteration."""
    return min(losses, key=lambda row: (row[1], row[0]), default=None)


@dataclass
class EarlyStop:
    """The lowest validation loss so far, and how many tests have passed since; ``patience`` of them end a run."""

    patience: int
    best: tuple[int, float] | None = None
    since: int = 0

    def told(self, history: Iterable[tuple[int, float]]) -> EarlyStop:
        """Count the tests of the run that is resumed."""
        for iteration, loss in history:
            self.tested(iteration, loss)
        return self

    def tested(self, iteration: int, loss: float) -> bool:
        """Count a test; whether its loss is the lowest so far."""
        if self.best is None or loss < self.best[1]:
            self.best, self.since = (iteration, loss), 0
            return True
        self.since += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether there was no improvement for ``patience`` tests."""
        return self.since >= self.patience


def loss_of(found: Mapping[str, float]) -> float | None:
    """The validation loss among a test's outputs, with the digits its CSV keeps, so that a resumed run agrees."""
    name = validation_output(found)
    return None if name is None else float(f"{found[name]:.9g}")
