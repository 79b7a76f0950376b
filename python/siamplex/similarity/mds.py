"""Multidimensional scaling: a map of items from their dissimilarities (Figures 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

from siamplex.errors import UsageError
from siamplex.randomness import numpy_stream
from siamplex.similarity.rdm import Matrix, Rdm

_STARTS = 32
_SHORT, _LONG = 50, 1000  # iterations
_EPS = 1e-8


@dataclass(frozen=True)
class Map:
    """Points (K, 2) of named items.

    ``stress`` is Kruskal's stress-1: how far distances on the map are from what was asked, the
    dissimilarities themselves (metric) or any rising function of them (non-metric); below 0.05 is
    usually called good, above 0.2 poor.  ``collapsed``: items lie in heaps, and the map says little.
    """

    names: tuple[str, ...]
    points: Matrix
    metric: bool
    stress: float
    collapsed: bool = False


def scale(rdm: Rdm, metric: bool, seed: int = 0) -> Map:
    """Best of 34 SMACOF runs: from classical scaling, shortly and at length, and from 32 random points.

    Raises UsageError without scikit-learn, or for dissimilarities that are all zero.
    """
    try:
        from sklearn.manifold import smacof
    except ImportError:
        raise UsageError("mds needs scikit-learn: pip install 'siamplex[science]'") from None
    values = rdm.values / (rdm.values.max() or 1.0)
    if not values.any():
        raise UsageError("a map needs items that differ, found dissimilarities that are all zero")
    asked = values.copy()
    if not metric:
        # the non-metric form takes 0 for missing: a rank below all others says the same
        off = ~np.eye(len(asked), dtype=bool)
        asked[off & (asked <= 0)] = 1e-6 * values[values > 0].min()
    stream = numpy_stream(seed, "mds", int(metric))
    known = classical(values)
    starts = [(known, _SHORT), (known, _LONG)]
    starts += [(stream.normal(size=(len(values), 2)), _LONG) for _ in range(_STARTS)]
    best: tuple[bool, float, Matrix] | None = None
    for start, iterations in starts:
        points, _ = smacof(
            asked, metric=metric, n_components=2, init=start, n_init=1, max_iter=iterations, eps=_EPS,
            random_state=0, normalized_stress=False,
        )[:2]  # fmt: skip
        found = collapsed(points), kruskal(values, points, metric)
        if best is None or found < (best[0], best[1] - 1e-12):
            best = *found, points
    assert best is not None
    return Map(rdm.names, _upright(best[2]), metric, best[1], best[0])


def collapsed(points: Matrix) -> bool:
    """Whether items have run together in a few heaps, nearer than a fiftieth of the map's width.

    Few items leave a non-metric map so free that heaps fit any order, with no stress at all: such a
    map is passed over for one that shows more, where there is one.
    """
    distances = pdist(points)
    return bool((distances < 0.02 * distances.max()).any())


def classical(values: Matrix) -> Matrix:
    """Classical scaling (K, 2): the two leading axes of the doubly centred squares."""
    count = len(values)
    centre = np.eye(count) - 1 / count
    sizes, axes = np.linalg.eigh(-centre @ (values**2) @ centre / 2)
    return np.asarray(axes[:, -1:-3:-1] * np.sqrt(np.maximum(sizes[-1:-3:-1], 0)))


def kruskal(values: Matrix, points: Matrix, metric: bool) -> float:
    """Kruskal's stress-1 of a map, at its best scale.

    sqrt(sum (d - f)^2 / sum d^2), d the map's distances, f the dissimilarities times the best factor
    (metric) or the best rising function of them (non-metric).
    """
    asked, seen = values[np.triu_indices(len(values), 1)], pdist(points)
    total = float((seen**2).sum())
    if not total:
        return 1.0
    if metric:
        fitted = asked * (asked @ seen) / (asked @ asked)
    else:
        from sklearn.isotonic import IsotonicRegression

        # equal dissimilarities may lie at different distances (the primary treatment of ties)
        order = np.lexsort((seen, rankdata(asked)))
        fitted = np.empty_like(seen)
        fitted[order] = IsotonicRegression().fit_transform(np.arange(len(seen)), seen[order])
    return float(np.sqrt(((seen - fitted) ** 2).sum() / total))


def _upright(points: Matrix) -> Matrix:
    """Centred, longest axis across, the first item in the upper right: one of all equal maps."""
    points = points - points.mean(axis=0)
    points = points @ np.linalg.svd(points, full_matrices=False)[2].T
    signs = np.where(points[0] < 0, -1.0, 1.0)
    return np.asarray(points * signs)
