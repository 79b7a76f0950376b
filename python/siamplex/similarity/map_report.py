"""The report on maps of judgements, as text and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from siamplex.corpus.emotions import NAMES, named
from siamplex.errors import UsageError
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import (
    FEWEST,
    PAPER_ORDER,
    centroids,
    circular_order,
    line_order,
    on_a_line,
    order_agreement,
    ordered,
    paper_order,
)
from siamplex.geometry.report import on_line
from siamplex.similarity.circle import fit_maps
from siamplex.similarity.matrices import Judgements
from siamplex.similarity.mds import Map
from siamplex.similarity.rdm import Rdm


def describe_maps(
    judgements: Judgements, rdm: Rdm, maps: Sequence[Map], source: str, embedding: Embedding | None
) -> tuple[dict[str, Any], str]:
    """JSON and text of the maps of ``rdm``; with ``embedding``, how well its training subjects' means fit them.

    Raises UsageError for an embedding that cannot be compared with them.
    """
    centres = _centres(judgements, embedding) if embedding is not None else None
    lines = [f"{len(judgements.names)} items, taken for a {judgements.kind} matrix"]
    lines += [f"source: {source}"] if source else []
    result: dict[str, Any] = {"kind": judgements.kind, "source": source, "names": list(judgements.names), "maps": []}
    result["dissimilarities"] = rdm.values.tolist()
    for found in maps:
        entry: dict[str, Any] = {"metric": found.metric, "stress": found.stress, "points": found.points.tolist()}
        line = f"{'metric' if found.metric else 'non-metric'}: stress-1 {found.stress:.4f}"
        if found.collapsed:
            entry["collapsed"] = True
            line += ", items run together in heaps that their dissimilarities do not show"
        if _comparable(found.names):
            points = dict(zip(found.names, found.points, strict=True))
            if on_a_line(points):
                entry["line"] = list(line_order(points))
                line += f", {on_line(entry['line'])}"
            else:
                order = order_agreement(circular_order(points))
                entry["order"] = list(order.order)
                entry["agrees_either"] = bool(order.agrees_either)
                line += f", circular order {'-'.join(NAMES[e] for e in order.order)}"
                line += " (the paper's)" if entry["agrees_either"] else " (not the paper's)"
        if centres is not None:
            points = dict(zip(found.names, found.points, strict=True))
            fit = fit_maps(np.array([points[e] for e in centres]), np.array(list(centres.values())))
            entry["embedding"] = {"disparity": fit.disparity, "p": fit.p}
            line += f"; embedding's Procrustes distance {fit.disparity:.3f} (p {fit.p:.4f})"
        result["maps"].append(entry)
        lines.append(line)
    if not _comparable(judgements.names):
        needed = "at least four of the six emotions and nothing else but emotions"
        lines.append(f"no circular order is given: it needs {needed}, {_unlike(judgements)}")
    return result, "\n".join(lines)


def _comparable(names: Sequence[str]) -> bool:
    """Whether all items are emotions, and the paper has an order of those among them that are its own."""
    return all(name in NAMES for name in names) and len(paper_order(names)) >= FEWEST


def _centres(judgements: Judgements, embedding: Embedding) -> dict[str, np.ndarray]:
    """Training subjects' mean points (2,) of the emotions that were judged.  Raises UsageError."""
    train = embedding.of_split("train")
    centres = centroids(train.points, train.emotions)
    shown = set(embedding.emotions)
    if set(judgements.names) not in (shown, set(paper_order(shown))):
        found = _unlike(judgements) if shown == set(PAPER_ORDER) else f"found one of {', '.join(judgements.names)}"
        raise UsageError(f"--embedding: expected a matrix of {named(shown)}, {found}")
    if not set(centres) >= set(judgements.names) or train.points.shape[1] != 2:
        found = f"{len(centres)} emotions in {train.points.shape[1]} dimensions"
        raise UsageError(
            f"--embedding: expected training subjects' {len(shown)} emotions in 2 dimensions, found {found}"
        )
    return {e: centres[e] for e in ordered(judgements.names)}


def _unlike(judgements: Judgements) -> str:
    """Which emotions a matrix lacks, and which other items it has."""
    lacking = [NAMES[e] for e in PAPER_ORDER if e not in judgements.names]
    others = [NAMES.get(name, name) for name in judgements.names if name not in PAPER_ORDER]
    parts = [f"lacking {', '.join(lacking)}"] if lacking else []
    parts += [f"with {', '.join(others[:6])}{' and more' if len(others) > 6 else ''}"] if others else []
    return "found one " + " and ".join(parts)
