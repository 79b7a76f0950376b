"""Whether each actor's own dissimilarities show the structure of all actors together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import FEWEST, centroids, circular_order, on_a_line, order_agreement
from siamplex.similarity.compare import spearman
from siamplex.similarity.patterns import of_embedding


@dataclass(frozen=True)
class Actor:
    """One subject: rank correlation of its dissimilarities with those of all others, and its circular order.

    ``line``: its emotions lie on a line, so it has no circular order.  ``comparable``: the paper orders its emotions.
    """

    subject: str
    spearman: float
    order: tuple[str, ...] | None
    agrees_either: bool
    line: bool = False
    comparable: bool = True


def per_actor(embedding: Embedding) -> list[Actor]:
    """Every subject that shows all emotions present (at least three), if there are others to compare it with."""
    patterns = of_embedding(embedding)
    found: list[Actor] = []
    if len(patterns.items) < 3:
        return found
    for subject in patterns.names:
        own = patterns.of_subjects([subject]).rdm()
        others = patterns.of_subjects([s for s in patterns.names if s != subject]).rdm()
        if own is None or others is None:
            continue
        mine = [i for i, s in enumerate(embedding.subjects) if s == subject]
        order, line = None, False
        if embedding.points.shape[1] == 2:
            centres = centroids(embedding.points[mine], [embedding.emotions[i] for i in mine])
            line = on_a_line(centres)
            whole = len(centres) == len(patterns.items) and not line
            order = order_agreement(circular_order(centres)) if whole else None
        found.append(
            Actor(
                subject,
                float(spearman(own.upper(), others.upper())[0]),
                order.order if order else None,
                bool(order and order.agrees_either),
                line,
                bool(line or (order and len(order.compared) >= FEWEST)),
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
        "on_a_line": sum(a.line for a in actors),
        "comparable": all(a.comparable for a in actors),
    }


def order_counts(summary: dict[str, float | int]) -> str:
    """How many actors show the paper's order, and how many have no circular order at all, in words."""
    if not summary.get("comparable", True):
        return "too few of the paper's emotions for an order"
    flat = int(summary.get("on_a_line", 0))
    round_ = int(summary["actors"]) - flat
    if not round_:
        return "all with their emotions on a line"
    words = f"{summary['in_the_papers_order']} in the paper's order"
    return f"{words} of {round_}, {flat} with their emotions on a line" if flat else words
