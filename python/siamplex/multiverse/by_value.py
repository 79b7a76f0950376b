"""Whether a claim about cells depends on a setting: its share of true cells at each value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from siamplex.multiverse.table import as_text
from siamplex.randomness import numpy_stream

LEVEL = 0.05  # of p, over all settings together
_SHUFFLES = 1999

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ByValue:
    """The values of a setting, as text, each with its number of cells and of those where the claim is true.

    ``apart``: the largest less the smallest share of true cells.  ``p``: the share of shuffles of the claim whose sum
    of squares between values is at least as large, the true arrangement among them.  Cells of one training are not
    independent, so that whole trainings change places; a setting that differs within a training (``iterations``,
    ``stop``) is tried by shuffles within each training.
    """

    setting: str
    cells: dict[str, int]
    true: dict[str, int]
    p: float
    apart: float


def by_value(cells: pd.DataFrame, claim: Sequence[bool], settings: Sequence[str], seed: int = 0) -> list[ByValue]:
    """A ByValue for each setting, ``seed`` and ``fold`` that differs between ``cells``, the largest ``apart`` first."""
    true = np.asarray(claim, np.float64)
    trainings = np.asarray(pd.factorize(cells["training"])[0], np.intp)
    first = np.unique(trainings, return_index=True)[1]
    between_trainings = cache(lambda: _between(true, trainings, seed))  # all settings share the shuffles
    within_trainings = cache(lambda: _within(true, trainings, seed))
    found = []
    for name in (*settings, "seed", "fold"):
        codes, values = pd.factorize(cells[name], sort=True, use_na_sentinel=False)
        if len(values) < 2:
            continue
        members = np.asarray(codes[:, None] == np.arange(len(values))[None], np.float64)
        if differs_within(np.asarray(codes, np.intp), trainings):
            hits = within_trainings() @ members
            counts = np.broadcast_to(members.sum(axis=0), hits.shape)
        else:
            counts, hits = (shuffled @ members[first] for shuffled in between_trainings())
        between = (hits**2 / counts).sum(axis=1)
        p = float((between >= between[0] - 1e-9).mean())
        names = ["none" if pd.isna(v) else as_text(v.item() if hasattr(v, "item") else v) for v in values]
        found.append(
            ByValue(
                name, dict(zip(names, counts[0].astype(int).tolist(), strict=True)),
                dict(zip(names, hits[0].astype(int).tolist(), strict=True)), p, float(np.ptp(hits[0] / counts[0])),
            )
        )  # fmt: skip
    return sorted(found, key=lambda f: -f.apart)


def differs_within(codes: npt.NDArray[np.intp], trainings: npt.NDArray[np.intp]) -> bool:
    """Whether cells of one training have different values of a setting."""
    return len(set(zip(trainings.tolist(), codes.tolist(), strict=True))) > len(set(trainings.tolist()))


def _between(true: Floats, trainings: npt.NDArray[np.intp], seed: int) -> tuple[Floats, Floats]:
    """Cells and true cells (S, T) at each training's place: as they are, and with whole trainings shuffled."""
    sizes, hits = np.bincount(trainings).astype(np.float64), np.bincount(trainings, true).astype(np.float64)
    stream = numpy_stream(seed, "multiverse", "claims", len(sizes))
    order = np.stack([np.arange(len(sizes)), *(stream.permutation(len(sizes)) for _ in range(_SHUFFLES))])
    return sizes[order], hits[order]


def _within(true: Floats, trainings: npt.NDArray[np.intp], seed: int) -> Floats:
    """The claim (S, N) as it is, and shuffles of the cells within each training."""
    stream = numpy_stream(seed, "multiverse", "claims within", len(true))
    places = np.argsort(trainings, kind="stable")
    shuffled = np.tile(true, (_SHUFFLES + 1, 1))
    for row in shuffled[1:]:
        row[places] = true[np.lexsort((stream.random(len(true)), trainings))]
    return shuffled


def decisive(found: Sequence[ByValue]) -> list[ByValue]:
    """The settings on which the claim depends: p below 0.05, divided by their number (Bonferroni)."""
    return [one for one in found if one.p < LEVEL / len(found)]
