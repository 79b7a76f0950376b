"""The noise ceiling: the highest agreement with these raters that their own consistency allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siamplex.randomness import numpy_stream
from siamplex.similarity.responses import Responses, profile_distances

SPLITS = 20
_FEWEST = 4  # pictures
_STEPS = 1 << 16  # of a distance, from 0 to 2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ceiling:
    """Split-half reliability of the distances of people's profiles.

    ``halves``: mean Spearman's rho of two halves of the ``raters``, over ``splits`` random splits.  ``reliability``:
    that of all raters (Spearman-Brown: 2 r / (1 + r)).  ``untied``: the highest rho with the raters' distances that
    distances without ties can have (:func:`most_untied`); unanimous raters give many ties, points none.  ``highest``:
    the square root of the reliability times ``untied``, the rho that noise-free distances could reach.
    """

    raters: int
    splits: int
    halves: float
    reliability: float
    untied: float
    highest: float


def ceiling(responses: Responses, seed: int) -> Ceiling | None:
    """The ceiling of the pictures that both halves judged; None of fewer than two raters, or of too few pictures."""
    present = np.unique(responses.rater)
    if responses.raters < 2 or len(present) < 2:
        return None
    stream = numpy_stream(seed, "halves of raters")
    found = []
    for _ in range(SPLITS):
        half = np.zeros(responses.raters, bool)
        half[stream.permutation(present)[: len(present) // 2]] = True
        rho = halves_agree(responses, half)
        if rho is not None:
            found.append(rho)
    if not found:
        return None
    r = float(np.mean(found))
    reliability = max(0.0, 2 * r / (1 + r)) if r > -1 else 0.0
    judged = responses.totals()[responses.judged()]
    untied = most_untied(profile_distances(judged)[np.triu_indices(len(judged), 1)])
    return Ceiling(len(present), len(found), r, reliability, untied, float(np.sqrt(reliability)) * untied)


def most_untied(values: Floats) -> float:
    """The highest Spearman's rho of ``values`` (P,) with any that have no ties.

    sqrt(1 - sum(t^3 - t) / (P^3 - P)) over groups of t ties.  It is reached by values in the same order, with ties
    broken in any way.
    """
    sizes = np.unique(values, return_counts=True)[1].astype(np.float64)
    count = float(len(values))
    return float(np.sqrt(max(0.0, 1 - (sizes**3 - sizes).sum() / (count**3 - count)))) if count > 1 else 0.0


def halves_agree(responses: Responses, half: npt.NDArray[np.bool_]) -> float | None:
    """Spearman's rho of the profile distances of two sets of raters, ``half`` (R,) and the others.

    None where both judged fewer than four pictures.
    """
    sides = [responses.totals(half), responses.totals(~half)]
    both = np.flatnonzero(np.all([side.sum(axis=1) > 0 for side in sides], axis=0))
    if len(both) < _FEWEST:
        return None
    upper = np.triu_indices(len(both), 1)
    one, other = (_ranks(profile_distances(side[both])[upper]) for side in sides)
    norm = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / norm if norm > 0 else 0.0


def _ranks(distances: Floats) -> Floats:
    """Ranks about their mean, ties at the middle; distances closer than 1/32768 tie, to avoid sorting millions."""
    places = (distances * ((_STEPS - 1) / 2)).astype(np.int64)
    counts = np.bincount(places, minlength=_STEPS)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks: Floats = middle[places]
    return ranks - ranks.mean()
