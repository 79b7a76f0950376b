"""The chance level of the paper's order: from cells with shuffled labels, and if all orders were equally likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import beta

from siamplex.multiverse.store import PAPER, SHUFFLED, UNTRAINED
from siamplex.multiverse.swaps import even_chances

LEVEL = 0.95
KINDS = {"agrees": "the paper's order", "agrees_either": "that, surprise and fear either way round"}


@dataclass(frozen=True)
class Share:
    """Of ``cells`` cells with a circular order, ``hits`` agree; ``lines`` further cells lie on a line, without one.

    ``draws``: the number of different shuffles of the labels among those cells; for cells with true labels, of
    different seeds and folds.  Cells of one draw are not independent: in the interval (Clopper-Pearson, 95 %) they
    count as one trial together.  ``share`` and ``interval`` are None where there are no cells.
    """

    cells: int
    lines: int
    draws: int
    hits: int
    share: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Chance:
    """Shares of agreeing orders, by kind of agreement (:data:`KINDS`) and kind of cell.

    ``shuffled`` cells, trained on shuffled labels, give the chance level; ``untrained`` are towers with initial
    weights; ``trained`` are the paper's cells, ``learnt`` those of them that learnt.  ``even`` is the chance if all
    orders were equally likely, a fraction as text; None where the paper does not order the emotions.
    """

    what: str
    trained: Share
    learnt: Share
    shuffled: Share
    untrained: Share
    even: str | None


def chances(table: pd.DataFrame) -> dict[str, Chance]:
    """Of the table of all cells (:func:`~siamplex.multiverse.table.frame`), by kind of agreement."""
    known = table["order"].dropna()
    even = even_chances(known.iloc[0].split("-")) if len(known) else None
    trained = table[table["control"] == PAPER]
    parts = {
        "trained": trained,
        "learnt": trained[trained["learnt"].fillna(False).astype(bool)],
        "shuffled": table[table["control"] == SHUFFLED],
        "untrained": table[table["control"] == UNTRAINED],
    }
    return {
        kind: Chance(
            what, **{name: share(part, kind) for name, part in parts.items()}, even=str(even[i]) if even else None
        )
        for i, (kind, what) in enumerate(KINDS.items())
    }


def share(cells: pd.DataFrame, kind: str) -> Share:
    """The share of some cells whose circular order agrees."""
    lines = int(cells["line"].fillna(False).astype(bool).sum())
    with_order = cells[cells[kind].notna()]
    shuffled = bool((cells["control"] == SHUFFLED).all())
    draws = len(with_order[["labels"] if shuffled else ["seed", "fold"]].drop_duplicates())
    hits = int(with_order[kind].astype(bool).sum())
    if not len(with_order):
        return Share(0, lines, 0, 0, None, None)
    part = hits / len(with_order)
    return Share(len(with_order), lines, draws, hits, part, clopper_pearson(part, draws))


def clopper_pearson(part: float, trials: float) -> tuple[float, float]:
    """The exact binomial interval (95 %) of a share of ``trials``, which need not be whole numbers of hits."""
    hits, tail = part * trials, (1 - LEVEL) / 2
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits >= trials else float(beta.ppf(1 - tail, hits + 1, trials - hits))
    return low, high


def as_lines(found: dict[str, Chance]) -> list[str]:
    """The shares in words, a line each."""
    lines = []
    for chance in found.values():
        lines.append(f"{chance.what}:")
        for name in ("learnt", "trained", "shuffled", "untrained"):
            part: Share = getattr(chance, name)
            lines.append(f"  {TITLES[name]:<28} {in_words(part)}")
        if chance.even:
            lines.append(f"  {'were all orders as likely':<28} {chance.even}")
    return lines


TITLES = {
    "learnt": "cells that learnt", "trained": "all cells trained", "shuffled": "labels shuffled",
    "untrained": "not trained",
}  # fmt: skip


def in_words(part: Share) -> str:
    """A share with its interval."""
    on_lines = f", {part.lines} more on a line" if part.lines else ""
    if part.share is None or part.interval is None:
        return f"no cell with a circular order{on_lines}"
    low, high = part.interval
    return f"{part.hits} of {part.cells} ({part.share:.0%}, 95 % {low:.0%} to {high:.0%}{on_lines})"


def percentiles(values: Sequence[float]) -> tuple[float, float] | None:
    """The middle 95 % of a control's outcome; None for fewer than ten cells."""
    if len(values) < 10:
        return None
    low, high = np.quantile(np.asarray(values, np.float64), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
