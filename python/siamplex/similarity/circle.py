"""The paper's circle: how stable the order is under resampling, and how well the distances fit it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import procrustes

from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import (
    FEWEST,
    centroids,
    circular_order,
    line_order,
    on_a_line,
    order_agreement,
    ordered,
    singular_ratio,
)
from siamplex.randomness import numpy_stream
from siamplex.similarity.compare import BOOTSTRAPS, Agreement, agreement_with, relabellings
from siamplex.similarity.patterns import of_embedding
from siamplex.similarity.rdm import Rdm, of_circle


@dataclass(frozen=True)
class Circle:
    """The circular order of the emotions' means, and its stability when subjects are resampled.

    ``agreement`` compares the distances with those of an even circle in the paper's order.  ``share``: share of
    resamples in the paper's order; ``share_either``: with surprise and fear swapped too; both None for one subject.
    ``ratio`` is the ratio of the means' singular values; ``line`` says that it is too small for a circle
    (:data:`~siamplex.geometry.orders.LINE`).  ``order`` is then the order along the line, and every field about the
    circle is None.
    """

    order: tuple[str, ...]
    agrees: bool | None
    agrees_either: bool | None
    chance: str | None
    chance_either: str | None
    share: float | None
    share_either: float | None
    orders_seen: list[tuple[tuple[str, ...], int]]
    agreement: Agreement | None
    ratio: float
    line: bool = False


def circle(embedding: Embedding, drawn: list[Rdm], seed: int = 0, count: int = BOOTSTRAPS) -> Circle | None:
    """The circular order of a 2-D embedding; None of fewer than three emotions, or where it is not 2-D.

    The order covers all emotions present.  It is compared with the paper's over the paper's emotions among them; with
    fewer than four of these the agreement is None.
    """
    centres = centroids(embedding.points, embedding.emotions)
    if len(centres) < 3 or embedding.points.shape[1] != 2:
        return None
    ratio = singular_ratio(np.array(list(centres.values())))
    if on_a_line(centres):
        return Circle(line_order(centres), None, None, None, None, None, None, [], None, ratio, True)
    seen = order_agreement(circular_order(centres))
    comparable = len(seen.compared) >= FEWEST
    subjects, where = np.unique(embedding.subjects, return_inverse=True)
    emotions, points = np.array(embedding.emotions), embedding.points.astype(np.float64)
    stream = numpy_stream(seed, "circle")
    tally: dict[tuple[str, ...], int] = {}
    good = either = total = 0
    for _ in range(count if len(subjects) > 1 else 0):
        times = np.bincount(stream.integers(0, len(subjects), len(subjects)), minlength=len(subjects))[where]
        weights = {e: times * (emotions == e) for e in ordered(centres)}
        if not all(w.sum() for w in weights.values()):
            continue
        found = order_agreement(circular_order({e: w @ points / w.sum() for e, w in weights.items()}))
        total += 1
        good += bool(found.agrees)
        either += bool(found.agrees_either)
        tally[found.order] = tally.get(found.order, 0) + 1
    return Circle(
        order=seen.order,
        agrees=seen.agrees,
        agrees_either=seen.agrees_either,
        chance=None if seen.chance_one is None else str(seen.chance_one),
        chance_either=None if seen.chance_either is None else str(seen.chance_either),
        share=good / total if total and comparable else None,
        share_either=either / total if total and comparable else None,
        orders_seen=sorted(tally.items(), key=lambda item: -item[1])[:5],
        agreement=agreement_with(of_embedding(embedding), of_circle(seen.compared), drawn) if comparable else None,
        ratio=ratio,
    )


@dataclass(frozen=True)
class Fit:
    """Procrustes fit of two maps: ``disparity`` from 0 (same shape) to 1, and its permutation p."""

    disparity: float
    p: float


def fit_maps(one: np.ndarray, other: np.ndarray) -> Fit:
    """Procrustes distance of two maps (K, 2) of the same items, after moving, turning, mirroring and scaling.

    p: the share of relabellings that fit at least as well, the true labelling among them.
    """
    disparity = float(procrustes(one, other)[2])
    orders = relabellings(len(one))
    at_most = sum(float(procrustes(one, other[list(order)])[2]) <= disparity + 1e-12 for order in orders)
    return Fit(disparity, at_most / len(orders))
