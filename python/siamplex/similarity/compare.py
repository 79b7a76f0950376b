"""Whether two dissimilarity matrices agree: rank correlation, exact permutation test, bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy import stats

from siamplex.randomness import numpy_stream
from siamplex.similarity.patterns import Patterns
from siamplex.similarity.rdm import Rdm

BOOTSTRAPS = 1000
_EXACT = 8  # items up to which every relabelling is tried
_DRAWN = 5000
_LEVEL = 0.95


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of the dissimilarities of two matrices.

    ``spearman_p`` and ``kendall_p``: the share of relabellings of one matrix that agree at least as well (one-sided;
    all K! of them up to 8 items).  The intervals (95 %, percentiles) resample subjects; None where there are no
    subjects to resample.
    """

    spearman: float
    spearman_p: float
    kendall: float
    kendall_p: float
    spearman_interval: tuple[float, float] | None = None
    kendall_interval: tuple[float, float] | None = None


Rows = npt.NDArray[np.float64]


def spearman(rows: Rows, fixed: Rows) -> Rows:
    """Spearman's rho (R,) of each row (R, P) with ``fixed`` (P,); 0 where one is constant."""
    ours, theirs = stats.rankdata(np.atleast_2d(rows), axis=1), stats.rankdata(fixed)
    ours -= ours.mean(axis=1, keepdims=True)
    theirs -= theirs.mean()
    norm = np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum())
    return np.divide(ours @ theirs, norm, out=np.zeros(len(ours)), where=norm > 0)


def unit(ranks: Rows) -> Rows:
    """Ranks (P,) about their mean, of length 1; zeros where all are equal.  Two of them multiply to Spearman's rho."""
    centred = ranks - ranks.mean()
    norm = float(np.linalg.norm(centred))
    return centred / norm if norm > 0 else centred


def kendall(rows: Rows, fixed: Rows) -> Rows:
    """Kendall's tau-b (R,) of each row (R, P) with ``fixed`` (P,); 0 where one is constant."""
    low, high = np.triu_indices(len(fixed), 1)
    rows = np.atleast_2d(rows)
    ours = np.sign(rows[:, high] - rows[:, low])
    theirs = np.sign(fixed[high] - fixed[low])
    norm = np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum())
    return np.divide(ours @ theirs, norm, out=np.zeros(len(ours)), where=norm > 0)


def relabellings(count: int) -> Sequence[Sequence[int]]:
    if count <= _EXACT:
        return list(permutations(range(count)))
    stream = numpy_stream(0, "relabellings", count)
    return [list(range(count)), *(stream.permutation(count).tolist() for _ in range(_DRAWN - 1))]


def shared(one: Rdm, other: Rdm) -> tuple[str, ...]:
    """Items of both matrices, as the first has them in order."""
    return tuple(name for name in one.names if name in other.names)


def agreement(one: Rdm, other: Rdm) -> Agreement:
    """Spearman's rho and Kendall's tau-b of two matrices over the items of both (at least 3), with permutation p.

    The relabellings include the true labelling, so p is never 0.
    """
    one = one.of(shared(one, other))
    fixed = other.upper(one.names)
    orders = np.array(relabellings(len(one.names)))
    first, second = np.triu_indices(len(one.names), 1)
    moved = one.values[orders[:, first], orders[:, second]]  # (relabellings, P), the first as it is
    rho, tau = spearman(moved, fixed), kendall(moved, fixed)
    at_least = [float((values >= values[0] - 1e-9).mean()) for values in (rho, tau)]
    return Agreement(float(rho[0]), at_least[0], float(tau[0]), at_least[1])


def resamples(patterns: Patterns, seed: int, count: int = BOOTSTRAPS) -> list[Rdm]:
    """Dissimilarities of resampled subjects; resamples that lack an emotion are drawn again.  None of one subject."""
    names = patterns.names
    if len(names) < 2:
        return []
    stream = numpy_stream(seed, "bootstrap", patterns.layer)
    found: list[Rdm] = []
    for _ in range(20 * count):
        if len(found) == count:
            break
        drawn = stream.integers(0, len(names), len(names))
        times = {names[i]: int(n) for i, n in enumerate(np.bincount(drawn, minlength=len(names)))}
        rdm = patterns.rdm(times)
        if rdm is not None:
            found.append(rdm)
    return found


def interval(values: Sequence[float] | Rows) -> tuple[float, float] | None:
    """The middle 95 % of resampled values; None where there are too few to tell."""
    if len(values) < 50:
        return None
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def agreement_with(patterns: Patterns, reference: Rdm, drawn: Sequence[Rdm]) -> Agreement | None:
    """Agreement of a layer with a reference, with intervals from its ``drawn`` resamples; None below 3 items."""
    rdm = patterns.rdm()
    names = shared(rdm, reference) if rdm else ()
    if rdm is None or len(names) < 3:
        return None
    seen = agreement(rdm, reference)
    if not drawn:
        return seen
    rows, fixed = np.array([r.upper(names) for r in drawn]), reference.upper(names)
    spreads = (interval(spearman(rows, fixed)), interval(kendall(rows, fixed)))
    return Agreement(seen.spearman, seen.spearman_p, seen.kendall, seen.kendall_p, *spreads)
