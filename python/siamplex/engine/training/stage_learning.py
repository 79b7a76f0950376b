"""A summary of one stage's training, read from its files: the tests, the learning table and the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from siamplex.engine.training.early_stop import lowest, validation_losses
from siamplex.engine.training.learning_table import Learning, read_learning
from siamplex.engine.training.result import BY_VALIDATION, Result

# share of the label-blind loss: a net whose loss is not below it has learnt almost nothing about expressions
NOTHING_LEARNT = 0.95


@dataclass(frozen=True)
class StageLearning:
    """``rows`` of PREFIX_learning.csv, ``tests`` (iteration, validation loss), PREFIX_result.json; empty if missing."""

    rows: list[Learning]
    tests: list[tuple[int, float]]
    result: Result | None

    @classmethod
    def read(cls, prefix: str | Path) -> StageLearning:
        """Read the files of the run with this snapshot prefix.  Raises InputError."""
        return cls(
            read_learning(f"{prefix}_learning.csv"), validation_losses(Path(f"{prefix}_test.csv")), Result.read(prefix)
        )

    @property
    def lowest(self) -> tuple[int, float] | None:
        """The lowest validation loss, with its iteration."""
        return lowest(self.tests)

    @property
    def at_the_result(self) -> Learning | None:
        """The last row at or before the run's resulting snapshot."""
        until = self.result.iteration if self.result else None
        return next((row for row in reversed(self.rows) if until is None or row.iteration <= until), None)

    def ended(self) -> str:
        """How training ended, in words; empty where that is not known."""
        found = self.result
        if found is None:
            return ""
        if found.ended == BY_VALIDATION:
            return (
                f"stopped at iteration {found.last}, when validation loss had not fallen for {found.patience} tests; "
                f"iteration {found.iteration}, its lowest, is the result"
            )
        if found.iteration != found.last:
            return f"iteration {found.iteration} of {found.last}, that of the lowest validation loss, is the result"
        return f"ran to iteration {found.last}, its last, which is the result"


def against_blind(loss: float, blind: float | None) -> str:
    """A comparison of a loss with the label-blind one, in words."""
    if blind is None:
        return f"{loss:.3g}"
    verdict = "" if loss < NOTHING_LEARNT * blind else ": nothing learnt that labels tell"
    return f"{loss:.3g}, label-blind {blind:.3g}{verdict}"


def active_units(row: Learning) -> str:
    """The active units of each layer, in words."""
    return ", ".join(f"{name} {active} of {units}" for name, (active, units) in row.active.items())
