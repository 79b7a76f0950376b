"""Centroids of the emotions, their circular order, and how separable the emotions are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from siamplex.corpus.emotions import in_order
from siamplex.geometry.embedding import Embedding
from siamplex.randomness import numpy_stream

# the paper's order round the circle; surprise and fear overlap, so their swap agrees too
PAPER_ORDER = ("HA", "SP", "FE", "SA", "AN", "DI")
SWAPPED_ORDER = ("HA", "FE", "SP", "SA", "AN", "DI")

# Ratio of the centroids' singular values below which they are taken to lie on a line.  Round an ellipse of axes 1
# and r two neighbours change places in the order by angle once a centroid moves across the long axis, about r / 2
# from it; at r = 0.2 that is a tenth of the half-length, which is the standard error of a held-out centroid (eight
# faces, spread within an emotion a quarter of the half-length).  What was measured falls well apart on both sides:
# photographs at a rate that suits them 0.40 to 0.65, collapsed embeddings 0.05 to 0.09.
LINE = 0.2

Points = npt.NDArray[np.floating]

FEWEST = 4  # emotions from which on there is more than one circular order


def paper_order(members: Collection[str]) -> tuple[str, ...]:
    """The paper's order of those of its six emotions that are among ``members``."""
    return tuple(e for e in PAPER_ORDER if e in members)


def ordered(members: Collection[str]) -> tuple[str, ...]:
    """Emotions in the paper's order, others after them."""
    return (*paper_order(members), *(e for e in in_order(members) if e not in PAPER_ORDER))


def centroids(points: Points, emotions: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Mean point of each emotion present: emotion -> (D,) float64."""
    labels = np.array(emotions)
    return {e: np.asarray(points[labels == e], np.float64).mean(axis=0) for e in in_order(set(emotions))}


def circular_order(centres: dict[str, npt.NDArray[np.float64]]) -> tuple[str, ...]:
    """Emotions sorted by their centroid's angle about the centroids' mean, starting at HA; 2-D only."""
    middle = np.mean(list(centres.values()), axis=0)
    angles = {e: np.arctan2(c[1] - middle[1], c[0] - middle[0]) for e, c in centres.items()}
    return canonical(sorted(angles, key=lambda e: (float(angles[e]), e)))


def singular_ratio(centres: Points) -> float:
    """Second over first singular value of K centroids (K, D) about their mean: how round they lie.

    1 for an even circle, 0 for a line (and where all are one point).
    """
    stack = np.asarray(centres, np.float64)
    values = np.linalg.svd(stack - stack.mean(axis=0), compute_uv=False)
    return float(values[1] / values[0]) if len(values) > 1 and values[0] > 0 else 0.0


def on_a_line(centres: dict[str, npt.NDArray[np.float64]]) -> bool:
    """Whether the centroids lie so near a line that their order by angle means nothing (:data:`LINE`)."""
    return singular_ratio(np.array(list(centres.values()))) < LINE


def line_order(centres: dict[str, npt.NDArray[np.float64]]) -> tuple[str, ...]:
    """Emotions by their centroid's projection on the first singular vector, from the end that HA is nearer to.

    Without HA, from the end that comes first in the alphabet.
    """
    names = sorted(centres)
    stack = np.array([centres[e] for e in names])
    stack = stack - stack.mean(axis=0)
    along = stack @ np.linalg.svd(stack)[2][0]
    order = tuple(names[i] for i in np.argsort(along, kind="stable"))
    backward = order[::-1]
    if "HA" in order and order.index("HA") != backward.index("HA"):
        return min(order, backward, key=lambda o: o.index("HA"))
    return min(order, backward)


def canonical(order: Sequence[str]) -> tuple[str, ...]:
    """One spelling for all rotations and reflections of a circle: from HA (or the first in
    alphabet), in the direction whose second member comes first in the alphabet."""
    start = "HA" if "HA" in order else min(order)
    at = list(order).index(start)
    forward = (*order[at:], *order[:at])
    backward = (forward[0], *forward[:0:-1])
    return min(forward, backward)


def circular_orders(members: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every circular order of ``members``, up to rotation and reflection: 60 for six."""
    first, *rest = members
    for order in permutations(rest):
        if len(order) < 2 or order[0] < order[-1]:
            yield canonical((first, *order))


@dataclass(frozen=True)
class OrderAgreement:
    """Whether an order is the paper's, and how likely chance would give it.

    ``compared`` are the paper's emotions that ``order`` has; only these are compared with the paper's order.  Fewer
    than four (:data:`FEWEST`) have only one circular order: every other field but ``order`` is then None.
    """

    order: tuple[str, ...]
    agrees: bool | None
    agrees_swapped: bool | None
    chance_one: Fraction | None
    chance_either: Fraction | None
    compared: tuple[str, ...] = PAPER_ORDER

    @property
    def agrees_either(self) -> bool | None:
        """Whether the order is the paper's, or that with surprise and fear swapped."""
        return None if self.agrees is None else bool(self.agrees or self.agrees_swapped)


def order_agreement(order: Sequence[str]) -> OrderAgreement:
    """Compare a circular order with the paper's order, over the emotions that both have.

    The chance of agreement is counted over all circular orders of these emotions.
    """
    compared = paper_order(order)
    found = canonical(order)
    if len(compared) < FEWEST:
        return OrderAgreement(found, None, None, None, None, compared)
    wanted = canonical(compared)
    swapped = canonical([e for e in SWAPPED_ORDER if e in compared])
    ours = canonical([e for e in order if e in compared])
    all_orders = list(circular_orders(compared))
    return OrderAgreement(
        order=found,
        compared=compared,
        agrees=ours == wanted,
        agrees_swapped=ours == swapped,
        chance_one=Fraction(sum(o == wanted for o in all_orders), len(all_orders)),
        chance_either=Fraction(sum(o in (wanted, swapped) for o in all_orders), len(all_orders)),
    )


def separable(one: Points, other: Points) -> bool:
    """Whether a hyperplane separates two sets of points exactly (a linear program decides)."""
    points = np.vstack([one, other]).astype(np.float64)
    scale = np.abs(points - points.mean(axis=0)).max() or 1.0
    points = (points - points.mean(axis=0)) / scale
    signs = np.r_[np.ones(len(one)), -np.ones(len(other))]
    rows = -signs[:, None] * np.c_[points, np.ones(len(points))]
    answer = linprog(
        np.zeros(rows.shape[1]),
        A_ub=rows,
        b_ub=-np.ones(len(rows)),
        bounds=(None, None),
        method="highs",
    )
    return bool(answer.status == 0)


def separability(points: Points, emotions: Sequence[str]) -> dict[str, bool]:
    """For each emotion, whether a line separates it from all others."""
    labels = np.array(emotions)
    return {e: separable(points[labels == e], points[labels != e]) for e in in_order(set(emotions))}


def linear_guesses(train: Embedding, held_out: Embedding) -> list[str]:
    """Emotions of ``held_out`` predicted by a linear discriminant fitted on ``train``.

    Nearest centroid, with distances measured in the pooled covariance within emotions and equal priors.  The decision
    boundaries are linear.
    """
    centres = centroids(train.points, train.emotions)
    names = list(centres)
    stack = np.array([centres[n] for n in names])  # (E, D)
    own = np.array([centres[e] for e in train.emotions])
    within = np.atleast_2d(np.cov((train.points - own).T, bias=True))
    metric = np.linalg.pinv(within)
    gap = held_out.points[:, None, :] - stack[None]  # (N, E, D)
    return [names[i] for i in np.einsum("ned,df,nef->ne", gap, metric, gap).argmin(axis=1)]


def linear_accuracy(train: Embedding, held_out: Embedding) -> float:
    """Accuracy of :func:`linear_guesses`."""
    return float(np.mean(np.array(linear_guesses(train, held_out)) == np.array(held_out.emotions)))


def accuracy_interval(guesses: Sequence[str], held_out: Embedding, seed: int = 0) -> tuple[float, float] | None:
    """The middle 95 % of an accuracy when the held-out subjects are resampled 1000 times.

    None for fewer than three subjects.
    """
    subjects, where = np.unique(held_out.subjects, return_inverse=True)
    if len(subjects) < 3:
        return None
    right = np.bincount(where, np.array(guesses) == np.array(held_out.emotions))
    images = np.bincount(where)
    drawn = numpy_stream(seed, "accuracy").integers(0, len(subjects), (1000, len(subjects)))
    low, high = np.quantile(right[drawn].sum(axis=1) / images[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class NearestCentroid:
    """Nearest-centroid classification: overall accuracy, each emotion's, (true, guessed) counts, each guess."""

    accuracy: float
    per_emotion: dict[str, float]
    confusion: dict[str, dict[str, int]]
    guesses: list[str]


def nearest_centroid(train: Embedding, held_out: Embedding) -> NearestCentroid:
    """Give each held-out image the emotion of the nearest training centroid."""
    centres = centroids(train.points, train.emotions)
    names = list(centres)
    stack = np.array([centres[n] for n in names])  # (E, D)
    distance = np.linalg.norm(held_out.points[:, None, :] - stack[None], axis=2)  # (N, E)
    guesses = [names[i] for i in distance.argmin(axis=1)]
    truth = held_out.emotions
    confusion = {
        t: {g: sum(a == t and b == g for a, b in zip(truth, guesses, strict=True)) for g in names}
        for t in in_order(set(truth))
    }
    per_emotion = {t: row.get(t, 0) / sum(row.values()) for t, row in confusion.items()}
    accuracy = sum(a == b for a, b in zip(truth, guesses, strict=True)) / len(truth)
    return NearestCentroid(accuracy, per_emotion, confusion, guesses)
