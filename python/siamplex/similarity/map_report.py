"""What a map of judgements shows, in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from siamplex.embedding import Embedding
from siamplex.emotions import NAMES
from siamplex.geometry import PAPER_ORDER, centroids, circular_order, line_order, on_a_line, order_agreement
from siamplex.geometry_report import on_line
from siamplex.similarity.circle import fit_maps
from siamplex.similarity.matrices import Judgements
from siamplex.similarity.mds import Map
from siamplex.similarity.rdm import Rdm


def describe_maps(
    judgements: Judgements, rdm: Rdm, maps: Sequence[Map], source: str, embedding: Embedding | None
) -> tuple[dict[str, Any], str]:
    """JSON and text of the maps of ``rdm``; with an ``embedding``, how its training subjects' means fit them."""
    lines = [f"{len(judgements.names)} items, taken for a {judgements.kind} matrix"]
    lines += [f"source: {source}"] if source else []
    result: dict[str, Any] = {"kind": judgements.kind, "source": source, "names": list(judgements.names), "maps": []}
    result["dissimilarities"] = rdm.values.tolist()
    for found in maps:
        entry: dict[str, Any] = {"metric": found.metric, "stress": found.stress, "points": found.points.tolist()}
        line = f"{'metric' if found.metric else 'non-metric'}: stress-1 {found.stress:.4f}"
        if found.collapsed:
            entry["collapsed"] = True
            line += ", items run together in heaps: the order of dissimilarities alone says no more"
        if set(found.names) == set(PAPER_ORDER):
            points = dict(zip(found.names, found.points, strict=True))
            if on_a_line(points):
                entry["line"] = list(line_order(points))
                line += f", {on_line(entry['line'])}"
            else:
                order = order_agreement(circular_order(points))
                entry["order"] = list(order.order)
                entry["agrees_either"] = order.agrees or order.agrees_swapped
                line += f", circular order {'-'.join(NAMES[e] for e in order.order)}"
                line += " (the paper's)" if entry["agrees_either"] else " (not the paper's)"
            if embedding is not None:
                entry["embedding"] = _fit(points, embedding)
                line += _words(entry["embedding"])
        result["maps"].append(entry)
        lines.append(line)
    return result, "\n".join(lines)


def _fit(points: dict[str, Any], embedding: Embedding) -> dict[str, float]:
    train = embedding.of_split("train")
    centres = centroids(train.points, train.emotions)
    if len(centres) < len(PAPER_ORDER) or train.points.shape[1] != 2:
        return {}
    ours = np.array([centres[e] for e in PAPER_ORDER])
    fit = fit_maps(np.array([points[e] for e in PAPER_ORDER]), ours)
    return {"disparity": fit.disparity, "p": fit.p}


def _words(fit: dict[str, float]) -> str:
    return f"; embedding's Procrustes distance {fit['disparity']:.3f} (p {fit['p']:.4f})" if fit else ""
