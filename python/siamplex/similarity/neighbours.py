"""Answers predicted from the embedding: the emotions of a picture's nearest neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

NEIGHBOURS = 10
_ROWS = 512  # at a time

Floats = npt.NDArray[np.float64]


def neighbour_shares(points: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], classes: int, k: int) -> Floats:
    """Shares (N, C) of each label among the ``k`` pictures nearest to each of N points, itself not counted.

    A label counts by the fraction of its pictures that are among the neighbours, so that frequent labels (N,) are not
    favoured; rows are then normalised to sum to 1.  All pictures as near as the k-th count too; of fewer than k others,
    all count.
    """
    exact = np.asarray(points, np.float64)
    count = len(exact)
    if count < 2:
        return np.zeros((count, classes))
    k = min(k, count - 1)
    member = np.eye(classes)[labels]
    found = np.empty((count, classes))
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        gaps = cdist(exact[rows], exact)
        gaps[np.arange(len(rows)), rows] = np.inf
        reach = np.partition(gaps, k - 1, axis=1)[:, k - 1 : k]
        found[rows] = (gaps <= reach) @ member
    available = member.sum(axis=0) - member
    parts = np.divide(found, available, out=np.zeros_like(found), where=available > 0)
    return parts / parts.sum(axis=1, keepdims=True)
