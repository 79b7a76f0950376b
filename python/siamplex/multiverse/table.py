"""The multiverse as one table: a row a cell, a column a setting and an outcome."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamplex.errors import UsageError
from siamplex.multiverse.outcomes import OUTCOMES, Measured
from siamplex.multiverse.store import StoredCell
from siamplex.run.durable import atomic_path, write_text

FIRST = ("cell", "training", "control", "seed", "fold", "labels")
LAST = ("seconds",)
_ENDS = ("low", "high")
_TYPES = {
    **dict.fromkeys(("diverged", "learnt", "line", "agrees", "agrees_either"), "boolean"),
    **{name: "Int64" for name in OUTCOMES if "rank" in name or name == "swaps"},
    "order": "string",
}
_RESERVED = frozenset((*FIRST, *LAST, *OUTCOMES, *(f"{name}_{end}" for name in OUTCOMES for end in _ENDS)))


def setting_columns(cells: Sequence[StoredCell]) -> dict[str, str]:
    """The column of each setting that a cell has, in the order they appear.

    A setting keeps its name unless another kind of column has it; it then gets the prefix ``setting_``.
    """
    names = dict.fromkeys(name for cell in cells for name in cell.settings)
    return {name: f"setting_{name}" if name in _RESERVED else name for name in names}


def frame(cells: Sequence[StoredCell], measured: Sequence[Measured]) -> pd.DataFrame:
    """The table: ``cell``, ``training``, ``control``, ``seed``, ``fold``, ``labels``, settings, outcomes, ``seconds``.

    Cells that were read from one training have the same ``training`` and are not independent of each other.
    Behind an outcome that subjects decide stand ``..._low`` and ``..._high``, its interval (95 %) over subjects.
    Columns have pandas' types that know of missing values; settings of mixed kinds become text.
    """
    columns: dict[str, Any] = {
        "cell": pd.array([c.cell for c in cells], dtype="string"),
        "training": pd.array([c.training for c in cells], dtype="string"),
        "control": pd.array([c.control for c in cells], dtype="string"),
        "seed": pd.array([c.seed for c in cells], dtype="Int64"),
        "fold": pd.array([c.fold for c in cells], dtype="Int64"),
        "labels": pd.array([m.labels for m in measured], dtype="string"),
    }
    for name, column in setting_columns(cells).items():
        columns[column] = typed([c.settings.get(name) for c in cells])
    for name in OUTCOMES:
        columns[name] = _array([m.values.get(name) for m in measured], _TYPES.get(name, "Float64"))
        ends = [m.interval(name) for m in measured]
        if any(ends):
            for i, end in enumerate(_ENDS):
                columns[f"{name}_{end}"] = _array([pair[i] if pair else None for pair in ends], "Float64")
    columns["seconds"] = _array([c.learning.seconds for c in cells], "Float64")
    return pd.DataFrame(columns)


def typed(values: Sequence[Any]) -> Any:
    """Values as one of pandas' arrays with missing values: boolean, Int64, Float64 or string, whichever holds all."""
    there = [v for v in values if v is not None]
    kinds = {bool if isinstance(v, (bool, np.bool_)) else type(v) for v in there}
    if kinds == {bool}:
        dtype = "boolean"
    elif kinds == {int}:
        dtype = "Int64"
    elif kinds and kinds <= {int, float}:
        dtype = "Float64"
    else:
        return pd.array([None if v is None else as_text(v) for v in values], dtype="string")
    return _array(values, dtype)


def _array(values: Sequence[Any], dtype: str) -> Any:
    return pd.array([pd.NA if v is None else v for v in values], dtype=dtype)


def as_text(value: Any) -> str:
    """A setting's value as it is written: text as it is, numbers in few digits (1/16 and so on), else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        parts = 1 / value if value else 0.0
        return (
            f"1/{parts:.0f}" if parts >= 16 and float(parts).hex().startswith("0x1.0000000000000p") else f"{value:.6g}"
        )
    return json.dumps(value)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write the table; missing values are empty cells.  Raises StorageError."""
    write_text(path, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def parquet_missing() -> str:
    """What is to be installed before a Parquet file can be written, in one line; empty where nothing is."""
    if importlib.util.find_spec("pyarrow") is None:
        return "a Parquet file needs pyarrow, which is not installed (pip install 'siamplex[parquet]')"
    return ""


def write_parquet(table: pd.DataFrame, path: Path, about: Mapping[str, str] | None = None) -> None:
    """Write the table as Parquet; ``about`` says what its columns are, kept in the file as ``siamplex``.

    Raises UsageError without pyarrow, StorageError.
    """
    if parquet_missing():
        raise UsageError(f"{path}: {parquet_missing()}")
    table = table.copy()
    table.attrs = {"siamplex": dict(about or {})}  # pandas keeps them in the file
    with atomic_path(path) as part:
        table.to_parquet(part, engine="pyarrow", index=False)
