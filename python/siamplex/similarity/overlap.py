"""How much two emotions overlap in the embedding: d' and the Bhattacharyya coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import ordered
from siamplex.randomness import numpy_stream
from siamplex.similarity.compare import BOOTSTRAPS, interval

_FEW = 3  # images of an emotion below which it has no spread to speak of
_ONE_POINT = 1e-100  # squared spread below which points are all one: products of it are no numbers any more


@dataclass(frozen=True)
class Overlap:
    """Two emotions in the embedding.

    ``separation`` is d', the distance of the means in units of the spread within emotions along that
    line; ``overlap`` the Bhattacharyya coefficient of two normal distributions of their means and
    spreads: 1 when they coincide, 0 when apart.  ``rank`` 1 is the most overlapping of all couples.
    Intervals (95 %) resample subjects; None of one subject.
    """

    emotions: tuple[str, str]
    separation: float
    overlap: float
    rank: int
    overlap_interval: tuple[float, float] | None


def overlaps(embedding: Embedding, seed: int = 0, count: int = BOOTSTRAPS) -> list[Overlap]:
    """All couples of emotions, the most overlapping first."""
    subjects, where = np.unique(embedding.subjects, return_inverse=True)
    emotions = np.array(embedding.emotions)
    points = embedding.points.astype(np.float64)
    stream = numpy_stream(seed, "overlap")
    drawn = stream.integers(0, len(subjects), (count, len(subjects)))
    counts = [np.bincount(d, minlength=len(subjects)) for d in drawn]
    times = np.array(counts, np.int64).reshape(count, len(subjects))[:, where]  # (count, N)
    rows = []
    for a, b in combinations(ordered(set(embedding.emotions)), 2):
        masks = emotions == a, emotions == b
        if min(m.sum() for m in masks) < _FEW:
            continue
        once = np.ones(len(emotions))
        spread = [c for t in times if len(subjects) > 1 and (c := _coefficient(points, masks, t)) is not None]
        coefficient = _coefficient(points, masks, once)
        if coefficient is not None:
            rows.append(((a, b), _separation(points, masks), coefficient, interval(spread)))
    rows.sort(key=lambda row: -row[2])
    return [Overlap(*row[:3], rank, row[3]) for rank, row in enumerate(rows, 1)]


Masks = Sequence[npt.NDArray[np.bool_]]


def _moments(points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> tuple[
    npt.NDArray[np.float64], npt.NDArray[np.float64]
]:  # fmt: skip
    mean = weights @ points / weights.sum()
    centred = points - mean
    return mean, (centred * weights[:, None]).T @ centred / weights.sum()


def _coefficient(points: npt.NDArray[np.float64], masks: Masks, times: npt.NDArray[np.float64]) -> float | None:
    """exp(-Bhattacharyya distance) of two normals; None where one has no spread."""
    (m1, s1), (m2, s2) = (
        _moments(points[mask], times[mask].astype(float)) if times[mask].sum() else (points[0], np.zeros((1, 1)))
        for mask in masks
    )
    if s1.shape != s2.shape or s1.shape[0] != points.shape[1]:
        return None
    ridge = ridge_of(points)
    return float(coefficients(m1, s1 + ridge, m2, s2 + ridge))


def ridge_of(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A little (D, D) of the spread of all points (N, D).

    A spread that is zero in some direction makes any gap infinite; with this added it stays finite.  Points that are
    all one have any ridge: whatever it is, they coincide.
    """
    width = points.shape[1]
    spread = float(np.trace(np.cov(points.T).reshape(width, -1)))
    return np.asarray(1e-6 * (spread if spread > _ONE_POINT else 1.0) * np.eye(width))


def coefficients(
    one: npt.NDArray[np.float64], spread: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64], other_spread: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Bhattacharyya coefficients (...) of normals with means (..., D) and covariances (..., D, D)."""
    middle = (spread + other_spread) / 2
    gap = (one - other)[..., None]
    logs = [np.linalg.slogdet(s)[1] for s in (middle, spread, other_spread)]
    across = (gap * np.linalg.solve(middle, gap)).sum(axis=(-2, -1))
    return np.asarray(np.exp(-(across / 8 + (logs[0] - (logs[1] + logs[2]) / 2) / 2)))


def _separation(points: npt.NDArray[np.float64], masks: Masks) -> float:
    one, other = points[masks[0]], points[masks[1]]
    gap = one.mean(axis=0) - other.mean(axis=0)
    length = np.linalg.norm(gap)
    if not length:
        return 0.0
    along = [(p - p.mean(axis=0)) @ gap / length for p in (one, other)]
    spread = np.sqrt((np.mean(along[0] ** 2) + np.mean(along[1] ** 2)) / 2)
    return float(length / spread) if spread else float("inf")
