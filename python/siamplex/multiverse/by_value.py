"""Whether a claim about cells depends on a setting: its share of true cells at each value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from siamplex.multiverse.table import as_text
from siamplex.randomness import numpy_stream

LEVEL = 0.05  # of p, over all settings together
_SHUFFLES = 1999


@dataclass(frozen=True)
class ByValue:
    """The values of a setting, as text, each with its number of cells and of those where the claim is true.

    ``apart``: the largest less the smallest share of true cells.  ``p``: the share of shuffles of the claim among the
    cells whose sum of squares between values is at least as large, the true arrangement among them.
    """

    setting: str
    cells: dict[str, int]
    true: dict[str, int]
    p: float
    apart: float


def by_value(cells: pd.DataFrame, claim: Sequence[bool], settings: Sequence[str], seed: int = 0) -> list[ByValue]:
    """A ByValue for each setting, ``seed`` and ``fold`` that differs between ``cells``, the largest ``apart`` first."""
    true = np.asarray(claim, np.float64)
    stream = numpy_stream(seed, "multiverse", "claims", len(true))
    shuffled = np.stack([true, *(stream.permutation(true) for _ in range(_SHUFFLES))]) if len(true) else true[None]
    found = []
    for name in (*settings, "seed", "fold"):
        codes, values = pd.factorize(cells[name], sort=True, use_na_sentinel=False)
        if len(values) < 2:
            continue
        members = np.asarray(codes[:, None] == np.arange(len(values))[None], np.float64)
        counts = members.sum(axis=0)
        hits = shuffled @ members
        between = (hits**2 / counts).sum(axis=1)
        p = float((between >= between[0] - 1e-9).mean())
        part = hits[0] / counts
        names = ["none" if pd.isna(v) else as_text(v.item() if hasattr(v, "item") else v) for v in values]
        found.append(
            ByValue(
                name, dict(zip(names, counts.astype(int).tolist(), strict=True)),
                dict(zip(names, hits[0].astype(int).tolist(), strict=True)), p, float(np.ptp(part)),
            )
        )  # fmt: skip
    return sorted(found, key=lambda f: -f.apart)


def decisive(found: Sequence[ByValue]) -> list[ByValue]:
    """The settings on which the claim depends: p below 0.05, divided by their number (Bonferroni)."""
    return [one for one in found if one.p < LEVEL / len(found)]
