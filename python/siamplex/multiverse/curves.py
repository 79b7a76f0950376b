"""Specification curves of a multiverse: which are drawn, and what each shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from siamplex.engine.training.stage_learning import NOTHING_LEARNT
from siamplex.figures.curve import Curve, draw_curve
from siamplex.geometry.orders import LINE
from siamplex.multiverse.chance import percentiles
from siamplex.multiverse.outcomes import OUTCOMES
from siamplex.multiverse.store import PAPER, SHUFFLED, UNTRAINED
from siamplex.multiverse.table import as_text

CURVES = (
    "validation_ratio", "held_out_accuracy", "ratio", "swaps", "overlap_SP_FE", "overlap_AN_DI", "happiness_spread",
    "rho_action_units", "rho_people",
)  # fmt: skip
_FIXED: Mapping[str, tuple[str, float]] = {
    "validation_ratio": ("below: learnt", NOTHING_LEARNT),
    "ratio": ("below: a line", LINE),
    "rho_action_units": ("no agreement", 0.0),
    "rho_people": ("no agreement", 0.0),
}
_MOST = 8  # seeds or folds shown below a curve


def draw_curves(
    table: pd.DataFrame, settings: Sequence[str], accuracies: Mapping[str, float], notes: Sequence[str], folder: Path
) -> list[Path]:
    """One figure for each outcome that a cell of the paper's kind has, named by it; returns the files.

    ``accuracies``: mean held-out accuracy of each baseline, by name.
    """
    files = []
    for name in CURVES:
        curve = curve_of(table, name, settings, accuracies if name == "held_out_accuracy" else {}, notes)
        if curve is not None:
            files += draw_curve(curve, folder / name)
    return files


def curve_of(
    table: pd.DataFrame, name: str, settings: Sequence[str], accuracies: Mapping[str, float], notes: Sequence[str]
) -> Curve | None:
    """The curve of an outcome; None where no cell of the paper's kind has it."""
    cells = table[(table["control"] == PAPER) & table[name].notna()]
    if not len(cells):
        return None
    counts = {column: cells[column].nunique(dropna=False) for column in (*settings, "seed", "fold")}
    shown = [c for c in counts if counts[c] > 1 and (c in settings or counts[c] <= _MOST)]
    same = [f"{c} {text_of(cells[c].iloc[0])}" for c in settings if counts[c] == 1]
    more = [f"{count} {column}s are not shown below" for column, count in counts.items()
            if column not in settings and count > _MOST]  # fmt: skip
    lines, bands = _references(table, name, accuracies)
    alike = [f"the same in all cells: {', '.join(same)}"] if same else []
    return Curve(
        title=f"{OUTCOMES[name][0].upper()}{OUTCOMES[name][1:]}",
        values=cells[name].astype(float).tolist(),
        low=_ends(cells, f"{name}_low"),
        high=_ends(cells, f"{name}_high"),
        learnt=cells["learnt"].fillna(False).astype(bool).tolist(),
        choices={c: [text_of(v) for v in cells[c]] for c in shown},
        levels={c: [text_of(v) for v in pd.factorize(cells[c], sort=True, use_na_sentinel=False)[1]] for c in shown},
        lines=lines,
        bands=bands,
        notes=[*alike, *more, *notes],
    )


def text_of(value: object) -> str:
    """A value of a column as the figures have it."""
    if pd.isna(value):
        return "none"
    return as_text(value.item() if hasattr(value, "item") else value)


def _ends(cells: pd.DataFrame, column: str) -> list[float | None]:
    if column not in cells:
        return [None] * len(cells)
    return [None if pd.isna(v) else float(v) for v in cells[column]]


def _references(
    table: pd.DataFrame, name: str, accuracies: Mapping[str, float]
) -> tuple[list[tuple[str, float]], list[tuple[str, tuple[float, float]]]]:
    """Reference lines and bands of a curve: controls, baselines, thresholds."""
    lines = [(f"{method} {value:.0%}", value) for method, value in accuracies.items()]
    lines += [_FIXED[name]] if name in _FIXED else []
    untrained = table.loc[table["control"] == UNTRAINED, name].dropna().astype(float)
    if len(untrained):
        lines.append(("not trained, mean", float(untrained.mean())))
    shuffled = table.loc[table["control"] == SHUFFLED, name].dropna().astype(float).tolist()
    span = percentiles(shuffled)
    return lines, [(f"95 % of {len(shuffled)} with shuffled labels", span)] if span else []
