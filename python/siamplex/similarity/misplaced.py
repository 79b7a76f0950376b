"""Pictures that people and the embedding both take for another emotion than the one posed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siamplex.similarity.shuffles import p_of, within

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

NONE = -1  # no single answer, or one that is no emotion of the embedding's


@dataclass(frozen=True)
class Misplaced:
    """``differ`` pictures have another most frequent answer than the emotion posed, and where the net places them.

    ``with_people``: with the emotion that people gave; ``with_posed``: with the posed one; the others elsewhere.
    ``expected`` and ``p``: the mean of ``with_people``, and the share of shuffles that reach it, when the net's places
    are shuffled among the pictures of an emotion.  ``at``: the places (of M) of those with people.
    """

    differ: int
    with_people: int
    with_posed: int
    elsewhere: int
    undecided: int  # pictures of no single most frequent answer
    expected: float
    p: float
    at: list[int]


def favourites(shares: Floats) -> Labels:
    """The column of each row's (M, C) largest share; NONE where two are as large."""
    if shares.shape[1] < 2:
        return np.zeros(len(shares), np.int64)
    top = np.sort(shares, axis=1)[:, -2:]
    return np.where(top[:, 1] - top[:, 0] > 1e-9, shares.argmax(axis=1), NONE)


def misplaced(net: Labels, people: Labels, shown: Labels, seed: int) -> Misplaced:
    """Hold the net's place of each of M pictures against people's answer, where that is not what was ``shown``.

    ``net`` and ``people`` (M,) as :func:`favourites` gives them.
    """
    differ = (people != NONE) & (people != shown)
    counts = np.array([((net[order] == people) & differ).sum() for order in within(shown, seed, "places")], np.float64)
    agreed = differ & (net == people)
    posed = differ & (net == shown)
    return Misplaced(
        differ=int(differ.sum()),
        with_people=int(agreed.sum()),
        with_posed=int(posed.sum()),
        elsewhere=int((differ & ~agreed & ~posed).sum()),
        undecided=int((people == NONE).sum()),
        expected=float(counts[1:].mean()),
        p=p_of(counts),
        at=np.flatnonzero(agreed).tolist(),
    )
