"""The geometry of an embedding as a JSON and as text to read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from siamplex.corpus.emotions import NAMES, named
from siamplex.errors import UsageError
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import (
    FEWEST,
    LINE,
    PAPER_ORDER,
    SWAPPED_ORDER,
    accuracy_interval,
    centroids,
    circular_order,
    line_order,
    linear_accuracy,
    linear_guesses,
    nearest_centroid,
    on_a_line,
    order_agreement,
    paper_order,
    separability,
    singular_ratio,
)
from siamplex.geometry.pair_losses import all_pair_losses

NOTHING_TO_COMPARE = "not to be held against the paper's: fewer than four of its emotions have one circular order alone"


def describe(embedding: Embedding) -> dict[str, Any]:
    """Geometry of the training subjects and, where there are any, of the held-out ones.

    Held-out subjects are the test split's; the classifiers are fitted on the training subjects
    alone.  Emotions on a line (:data:`~siamplex.geometry.orders.LINE`) have an order along it, ``line``, in place of a
    circular ``order``.  Losses are Caffe's over all pairs of a split's images, at margin 1.  Raises UsageError for an
    embedding without training subjects.
    """
    train = embedding.of_split("train")
    if not len(train):
        raise UsageError("geometry needs training subjects, found none in this embedding")
    result: dict[str, Any] = {"facts": embedding.facts, "train": _shape(train)}
    for name in ("val", "test"):
        part = embedding.of_split(name)
        if len(part):
            nearest, linear = nearest_centroid(train, part), linear_guesses(train, part)
            result[name] = {
                **_shape(part),
                "nearest_centroid_accuracy": nearest.accuracy,
                "nearest_centroid_per_emotion": nearest.per_emotion,
                "confusion": nearest.confusion,
                "nearest_centroid_interval": accuracy_interval(nearest.guesses, part),
                "linear_accuracy": linear_accuracy(train, part),
                "linear_interval": accuracy_interval(linear, part),
            }
    return result


def _shape(part: Embedding) -> dict[str, Any]:
    centres = centroids(part.points, part.emotions)
    shape: dict[str, Any] = {
        "images": len(part),
        "subjects": len(set(part.subjects)),
        "centroids": {e: [float(v) for v in c] for e, c in centres.items()},
        "linearly_separable": separability(part.points, part.emotions),
    }
    losses = all_pair_losses(part.points, np.array(part.emotions))
    if losses:
        shape["pair_loss"], shape["label_blind_loss"] = losses.loss, losses.label_blind
    if len(centres) > 2 and part.points.shape[1] == 2:
        shape["singular_ratio"] = singular_ratio(np.array(list(centres.values())))
        if on_a_line(centres):
            shape["line"] = list(line_order(centres))
    if len(centres) > 2 and part.points.shape[1] == 2 and "line" not in shape:
        found = order_agreement(circular_order(centres))
        shape["order"] = {
            "found": list(found.order),
            "agrees": found.agrees,
            "agrees_with_swap": found.agrees_swapped,
            "chance_one": None if found.chance_one is None else str(found.chance_one),
            "chance_either": None if found.chance_either is None else str(found.chance_either),
            "compared": list(found.compared),
        }
    return shape


def as_text(geometry: dict[str, Any]) -> str:
    """The geometry in words."""
    facts = geometry["facts"]
    lines = [f"Embedding of {facts.get('weights', '?')}"]
    lines += [f"note: {note}" for note in facts.get("notes", [])]
    parts = [geometry[split] for split in ("train", "val", "test") if split in geometry]
    lines.append(papers_order({emotion for part in parts for emotion in part["centroids"]}))
    for split in ("train", "val", "test"):
        if split in geometry:
            lines += ["", *_part_lines(split, geometry[split])]
    return "\n".join(lines)


def _names(order: Any) -> str:
    return "-".join(NAMES[e] for e in order)


def papers_order(members: Collection[str]) -> str:
    """The paper's order of those of its emotions that are among ``members``, and with surprise and fear swapped."""
    known = paper_order(members)
    if len(known) < FEWEST:
        return f"paper's order: not to be compared with {named(members)}; it takes four of the paper's emotions"
    swapped = [e for e in SWAPPED_ORDER if e in known]
    of = "" if len(known) == len(PAPER_ORDER) else f" of the {len(known)} of its emotions that are there"
    return f"paper's order{of}: {_names(known)}" + (f" (or {_names(swapped)})" if tuple(swapped) != known else "")


def on_line(order: Sequence[str]) -> str:
    """The text for emotions on a line, in place of a circular order."""
    return f"on a line (ratio below {LINE:g}), which has no circular order; along it {_names(order)}"


def _part_lines(split: str, part: dict[str, Any]) -> list[str]:
    lines = [f"{split}: {part['images']} images of {part['subjects']} subjects"]
    for emotion, centre in part["centroids"].items():
        apart = "a line parts it" if part["linearly_separable"][emotion] else "no line parts it"
        where = ", ".join(f"{v:+.4f}" for v in centre)
        lines.append(f"  {NAMES[emotion]:<10} centroid ({where}), {apart}")
    if "pair_loss" in part:
        lines.append(f"  loss over all pairs {part['pair_loss']:.4g}, label-blind {part['label_blind_loss']:.4g}")
    if "singular_ratio" in part:
        lines.append(f"  centroids' singular values: ratio {part['singular_ratio']:.2f}")
    if "line" in part:
        lines.append(f"  {on_line(part['line'])}")
    if "order" in part:
        order = part["order"]
        lines.append(f"  circular order: {_names(order['found'])}")
        one, either = order["chance_one"], order["chance_either"]
        if order["agrees"] is None:
            verdict = NOTHING_TO_COMPARE
        elif order["agrees"]:
            verdict = f"the paper's order (chance {one})"
        elif order["agrees_with_swap"]:
            verdict = f"the paper's with surprise and fear swapped (chance of either {either})"
        else:
            verdict = f"not the paper's (chance of agreeing {one}, of either order {either})"
        lines.append(f"  {verdict}")
    if "nearest_centroid_accuracy" in part:
        lines.append(
            f"  nearest training centroid: {part['nearest_centroid_accuracy']:.1%} right"
            f"{between(part['nearest_centroid_interval'])}, "
            f"linear rule {part['linear_accuracy']:.1%}{between(part['linear_interval'])}"
        )
        shares = part["nearest_centroid_per_emotion"]
        lines.append("  " + ", ".join(f"{NAMES[e]} {share:.0%}" for e, share in shares.items()))
    return lines


def between(interval: Sequence[float] | None) -> str:
    """The interval of a share as text; empty where there is none."""
    return f" (95 % {interval[0]:.0%} to {interval[1]:.0%})" if interval else ""
