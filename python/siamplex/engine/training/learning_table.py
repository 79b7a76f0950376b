"""PREFIX_learning.csv: one row for each test, with what the learning log measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from siamplex.errors import InputError
from siamplex.geometry.pair_losses import PairLosses
from siamplex.schema.csv_files import read_rows

COLUMNS = ("iteration", "training_loss", "training_blind", "validation_loss", "validation_blind", "ratio")


@dataclass(frozen=True)
class Learning:
    """One row: losses (TEST phase) and label-blind losses, ratio of the classes' singular values, active units.

    ``active`` has (active, all) units by layer; a unit is active if its output is above zero for some training image.
    """

    iteration: int
    training: PairLosses
    validation: float | None
    validation_blind: float | None
    ratio: float | None
    active: Mapping[str, tuple[int, int]]

    def __str__(self) -> str:
        parts = [f"training loss {self.training.loss:.4g} (label-blind {self.training.label_blind:.4g})"]
        if self.validation is not None:
            blind = "" if self.validation_blind is None else f" (label-blind {self.validation_blind:.4g})"
            parts.append(f"validation loss {self.validation:.4g}{blind}")
        parts += [f"{name} {active} of {units} active" for name, (active, units) in self.active.items()]
        if self.ratio is not None:
            parts.append(f"ratio of the class means' singular values {self.ratio:.2f}")
        return f"iteration {self.iteration}: {', '.join(parts)}"


def read_learning(path: str | Path) -> list[Learning]:
    """The rows of a PREFIX_learning.csv; empty where there is none.  Raises InputError."""
    path = Path(path)
    if not path.exists():
        return []
    found = []
    table = read_rows(path, COLUMNS, "a learning.csv")
    for where, row in table:
        try:
            layers = [name.removesuffix("_units") for name in row if name.endswith("_units") and row[name]]
            validation, blind, ratio = (table.number(row[name]) if row[name] else None for name in COLUMNS[3:])
            losses = PairLosses(table.number(row["training_loss"]), table.number(row["training_blind"]))
            active = {name: (int(row[f"{name}_active"]), int(row[f"{name}_units"])) for name in layers}
            found.append(Learning(int(row["iteration"]), losses, validation, blind, ratio, active))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(where, ", ".join(COLUMNS), str(error)) from None
    return found
