"""Multidimensional scaling: a map of items from their dissimilarities (Figures 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from siamplex.errors import UsageError
from siamplex.randomness import numpy_stream
from siamplex.similarity.rdm import Matrix, Rdm

_STARTS = 32
_SHORT, _LONG = 50, 1000  # iterations
_EPS = 1e-8
_SAME = 0.002  # of stress, within which non-metric maps fit alike


@dataclass(frozen=True)
class Map:
    """Points (K, 2) of named items.

    ``stress`` is Kruskal's stress-1, the misfit between the map's distances and their targets: the dissimilarities
    themselves (metric) or any rising function of them (non-metric).  Below 0.05 is usually called good, above 0.2 poor.
    ``collapsed``: a non-metric map whose items form heaps that the dissimilarities do not show; such a map says little.
    """

    names: tuple[str, ...]
    points: Matrix
    metric: bool
    stress: float
    collapsed: bool = False


def scale(rdm: Rdm, metric: bool, seed: int = 0) -> Map:
    """Best of 34 SMACOF runs: from classical scaling, shortly and at length, and from 32 random points.

    Among non-metric maps whose stress differs by at most 0.002, the one nearest to the dissimilarities themselves is
    taken: with few items many maps fit the order alone.  Collapsed maps come last.

    Raises UsageError for dissimilarities that are all zero.
    """
    from sklearn.manifold import smacof

    values = rdm.values / (rdm.values.max() or 1.0)
    if not values.any():
        raise UsageError("a map needs items that differ, found dissimilarities that are all zero")
    asked = values.copy()
    if not metric:
        # scikit-learn's non-metric form reads 0 as missing; any value below all others has the same order
        off = ~np.eye(len(asked), dtype=bool)
        asked[off & (asked <= 0)] = 1e-6 * values[values > 0].min()
    stream = numpy_stream(seed, "mds", int(metric))
    known = classical(values)
    starts = [(known, _SHORT), (known, _LONG)]
    starts += [(stream.normal(size=(len(values), 2)), _LONG) for _ in range(_STARTS)]
    found: list[Map] = []
    for start, iterations in starts:
        points, _ = smacof(
            asked, metric=metric, n_components=2, init=start, n_init=1, max_iter=iterations, eps=_EPS,
            random_state=0, normalized_stress=False,
        )[:2]  # fmt: skip
        heaps = not metric and collapsed(values, points)
        found.append(Map(rdm.names, points, metric, kruskal(values, points, metric), heaps))
    least = min(found, key=lambda m: (m.collapsed, m.stress))
    if not metric:
        alike = [m for m in found if m.collapsed == least.collapsed and m.stress <= least.stress + _SAME]
        least = min(alike, key=lambda m: (round(kruskal(values, m.points, True), 9), m.stress))
    return replace(least, points=_upright(least.points))


def collapsed(values: Matrix, points: Matrix) -> bool:
    """Whether items (K, 2) have collapsed into heaps that their dissimilarities (K, K) do not show.

    A heap is a set of items nearer to each other than a fiftieth of the map's width.  The dissimilarities show a heap
    where its items differ from each other by less than a third of their differences from all other items.  With few
    items a non-metric map is so free that heaps fit any order without stress (Shepard 1974).
    """
    distances = squareform(pdist(points))
    near = distances < 0.02 * distances.max()
    for items in _connected(near):
        inside = values[np.ix_(items, items)].max()
        outside = np.setdiff1d(np.arange(len(values)), items)
        if len(items) > 1 and (not len(outside) or inside > values[np.ix_(items, outside)].min() / 3):
            return True
    return False


def _connected(near: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    """Sets of items that hang together by nearness."""
    count, labels = connected_components(near, directed=False)
    return [np.flatnonzero(labels == label) for label in range(count)]


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
    """The standard form of a map: centred, longest axis across, the first item in the upper right."""
    points = points - points.mean(axis=0)
    points = points @ np.linalg.svd(points, full_matrices=False)[2].T
    signs = np.where(points[0] < 0, -1.0, 1.0)
    return np.asarray(points * signs)
