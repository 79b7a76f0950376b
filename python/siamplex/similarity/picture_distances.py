"""Distances of pictures in the embedding, compared with distances of people's response profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from siamplex.randomness import numpy_stream
from siamplex.similarity.compare import BOOTSTRAPS, agreement, interval, unit
from siamplex.similarity.noise_ceiling import Ceiling, ceiling
from siamplex.similarity.rdm import Rdm
from siamplex.similarity.responses import Responses, profile_distances
from siamplex.similarity.shuffles import p_of, within

MOST = 2500  # pictures held against one another; of more, as many are drawn
FEWEST = 4
_BINS = 64  # of ranks, in resamples
_AT_ONCE = 1 << 22  # weights of couples of subjects held in memory
_ROUNDING = 1e-5  # of a sum of millions of float32

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Emotions:
    """Spearman's rho of the mean distances of pictures of two emotions; p over all relabellings of the emotions."""

    spearman: float
    p: float


@dataclass(frozen=True)
class Distances:
    """Spearman's rho of the M (M - 1) / 2 distances of ``images`` pictures, and how it compares.

    ``p_within``: share of shuffles of pictures within their emotion that reach the rho; ``mean_within``: the mean of
    the shuffles, which is what the emotions alone explain.  ``interval`` (95 %) resamples subjects; None of one.
    ``emotions`` None for fewer than three; ``ceiling`` None without raters.
    """

    images: int
    subjects: int
    pairs: int
    spearman: float
    interval: tuple[float, float] | None
    p_within: float
    mean_within: float
    emotions: Emotions | None
    ceiling: Ceiling | None
    drawn_of: int | None  # how many there were, where MOST of them were drawn


def distances(
    points: npt.NDArray[np.floating], responses: Responses, subjects: Sequence[str], emotions: Sequence[str], seed: int
) -> Distances | None:
    """Compare the points (M, D) of M judged pictures with people's ``responses`` to them.

    None for fewer than FEWEST pictures.
    """
    total = len(points)
    if total < FEWEST:
        return None
    if total > MOST:
        keep = chosen(total, seed)
        points, responses = points[keep], responses.of_images(keep)
        subjects, emotions = [subjects[i] for i in keep], [emotions[i] for i in keep]
    upper = np.triu_indices(len(points), 1)
    *pairs, plane, people = pair_distances(points, responses)
    ranks = [rankdata(d) for d in pairs]
    names, labels = np.unique(emotions, return_inverse=True)
    units = [unit(r) for r in ranks]
    shuffled = _shuffled(units, len(points), upper, labels.astype(np.int64), seed)
    who, where = np.unique(subjects, return_inverse=True)
    return Distances(
        images=len(points),
        subjects=len(who),
        pairs=len(upper[0]),
        spearman=float(units[0] @ units[1]),
        interval=_interval(ranks, where[upper[0]], where[upper[1]], len(who), seed),
        p_within=p_of(shuffled, _ROUNDING),
        mean_within=float(shuffled[1:].mean()),
        emotions=_by_emotion(plane, people, labels, tuple(str(n) for n in names)),
        ceiling=ceiling(responses, seed),
        drawn_of=total if total > MOST else None,
    )


def chosen(total: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of the pictures that are compared: all, or MOST drawn from more."""
    if total <= MOST:
        return np.arange(total)
    return np.sort(numpy_stream(seed, "pictures drawn").permutation(total)[:MOST])


def pair_distances(
    points: npt.NDArray[np.floating], responses: Responses
) -> tuple[Floats, Floats, Floats, Floats]:  # fmt: skip
    """Distances of M pictures in the embedding and between profiles: of each pair (M (M - 1) / 2,), and (M, M)."""
    exact = np.asarray(points, np.float64)
    plane, people = cdist(exact, exact), profile_distances(responses.totals())
    upper = np.triu_indices(len(exact), 1)
    return plane[upper], people[upper], plane, people


def _shuffled(
    units: Sequence[Floats], count: int, upper: tuple[npt.NDArray[np.intp], ...], labels: npt.NDArray[np.int64],
    seed: int,
) -> Floats:  # fmt: skip
    """Spearman's rho of each shuffle of pictures within their emotion: ranks move with their pictures."""
    squares = []
    for values in units:
        square = np.zeros((count, count), np.float32)
        square[upper] = values
        squares.append(square + square.T)
    moved, fixed = squares
    found = [np.vdot(moved.take(o, 0).take(o, 1), fixed) / 2 for o in within(labels, seed, "distances")]
    return np.array(found, np.float64)


def _by_emotion(plane: Floats, people: Floats, labels: npt.NDArray[np.intp], names: tuple[str, ...]) -> Emotions | None:
    if len(names) < 3:
        return None
    member = np.eye(len(names))[labels]  # (M, C)
    couples = np.outer(member.sum(axis=0), member.sum(axis=0))
    means = [Rdm(names, np.round(member.T @ d @ member / couples, 12)) for d in (plane, people)]
    found = agreement(*means)
    return Emotions(found.spearman, found.spearman_p)


def _interval(
    ranks: Sequence[Floats], first: npt.NDArray[np.intp], second: npt.NDArray[np.intp], subjects: int, seed: int
) -> tuple[float, float] | None:
    """The middle 95 % of Spearman's rho when subjects are resampled; None of one.

    A pair of pictures counts as often as its two subjects were drawn, a picture beside itself never.  Ranks are made
    anew in each resample, from up to 64 bins of equal count: their joint counts by couple of subjects are all that is
    needed.
    """
    if subjects < 2:
        return None
    bins = [_bins(r) for r in ranks]
    wide = [int(b.max()) + 1 for b in bins]
    couples, which = np.unique(
        np.minimum(first, second) * np.int64(subjects) + np.maximum(first, second), return_inverse=True
    )
    cells = bins[0] * wide[1] + bins[1]
    counts = csr_matrix((np.ones(len(cells)), (cells, which)), shape=(wide[0] * wide[1], len(couples)))
    low, high = np.divmod(couples, subjects)
    stream = numpy_stream(seed, "pictures: subjects")
    found: list[float] = []
    step = max(1, min(64, _AT_ONCE // len(couples)))
    for start in range(0, BOOTSTRAPS, step):
        size = min(step, BOOTSTRAPS - start)
        drawn = stream.integers(0, subjects, (size, subjects))
        times = np.stack([np.bincount(d, minlength=subjects) for d in drawn], axis=1).astype(np.float64)  # (S, size)
        joint = (counts @ (times[low] * times[high])).T.reshape(size, *wide)
        found += _spearman_of(joint)
    return interval(found)


def _bins(ranks: Floats) -> npt.NDArray[np.int64]:
    values, places = np.unique(ranks, return_inverse=True)
    if len(values) <= _BINS:
        return places.astype(np.int64)
    return np.minimum(ranks * _BINS / (len(ranks) + 1), _BINS - 1).astype(np.int64)


def _spearman_of(joint: Floats) -> list[float]:
    """Spearman's rho of each table of joint counts (R, A, B), ties at their middle rank; without empty tables."""
    joint = joint[joint.sum(axis=(1, 2)) > 0]
    rows, columns = joint.sum(axis=2), joint.sum(axis=1)
    total = rows.sum(axis=1, keepdims=True)
    middle = [np.cumsum(m, axis=1) - m / 2 - total / 2 for m in (rows, columns)]  # about their mean
    above = np.einsum("rab,ra,rb->r", joint, *middle)
    norm = np.sqrt((rows * middle[0] ** 2).sum(axis=1) * (columns * middle[1] ** 2).sum(axis=1))
    return np.divide(above, norm, out=np.zeros_like(above), where=norm > 0).tolist()
