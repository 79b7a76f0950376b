"""Whether each actor's faces show the structure that all show together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamplex.embedding import Embedding
from siamplex.geometry import PAPER_ORDER, centroids, circular_order, order_agreement
from siamplex.similarity.compare import spearman
from siamplex.similarity.patterns import of_embedding


@dataclass(frozen=True)
class Actor:
    """One subject: rank correlation of its own distances with those of all others, and its order."""

    subject: str
    spearman: float
    order: tuple[str, ...] | None
    agrees_either: bool


def per_actor(embedding: Embedding) -> list[Actor]:
    """Every subject that shows all six emotions, where there are others to compare with."""
    patterns = of_embedding(embedding)
    found = []
    for subject in patterns.names:
        own = patterns.of_subjects([subject]).rdm()
        others = patterns.of_subjects([s for s in patterns.names if s != subject]).rdm()
        if own is None or others is None:
            continue
        mine = [i for i, s in enumerate(embedding.subjects) if s == subject]
        order = None
        if embedding.points.shape[1] == 2:
            centres = centroids(embedding.points[mine], [embedding.emotions[i] for i in mine])
            order = order_agreement(circular_order(centres)) if len(centres) == len(PAPER_ORDER) else None
        found.append(
            Actor(
                subject,
                float(spearman(own.upper(), others.upper())[0]),
                order.order if order else None,
                bool(order and (order.agrees or order.agrees_swapped)),
            )
        )
    return found


def summary(actors: list[Actor]) -> dict[str, float | int]:
    """Median and quartiles of the correlations, and how many are in the paper's order."""
    if not actors:
        return {"actors": 0}
    low, middle, high = np.quantile([a.spearman for a in actors], [0.25, 0.5, 0.75])
    return {
        "actors": len(actors),
        "median": float(middle),
        "lower_quartile": float(low),
        "upper_quartile": float(high),
        "in_the_papers_order": sum(a.agrees_either for a in actors),
    }
