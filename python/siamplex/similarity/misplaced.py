"""Pictures that both people and the embedding assign to another emotion than the posed one."""

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
    """Of ``differ`` pictures the most frequent answer is not the posed emotion; where the net places these.

    ``with_people``: at the emotion that people answered; ``with_posed``: at the posed one; the rest elsewhere.
    ``expected`` is the mean of ``with_people`` when the net's places are shuffled among the pictures of an emotion, and
    ``p`` the share of shuffles that reach it.  ``at``: the indices (among M) of the pictures with people.
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
    """Compare the net's and people's answers to M pictures, where people's is not the emotion ``shown``.

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
