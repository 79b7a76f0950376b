"""The outcomes of a cell as plain values, each with its draws over subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from siamplex.engine.training.stage_learning import NOTHING_LEARNT
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import (
    canonical,
    centroids,
    circular_order,
    nearest_centroid,
    on_a_line,
    singular_ratio,
)
from siamplex.multiverse.draws import FEWEST, Weights
from siamplex.multiverse.moments import Moments
from siamplex.multiverse.store import StoredCell
from siamplex.multiverse.swaps import agreement, swaps_to_paper
from siamplex.run.durable import hash_bytes
from siamplex.similarity.compare import interval, spearman
from siamplex.similarity.overlap import coefficients, overlaps, ridge_of
from siamplex.similarity.rdm import Rdm, of_action_units
from siamplex.similarity.report import OVERLAPPING

HAPPY = "HA"

Value = bool | int | float | str | None
Floats = npt.NDArray[np.float64]

# every outcome, in the order of the table's columns, and what it is
OUTCOMES: Mapping[str, str] = {
    "diverged": "the training diverged, or must have by its first steps",
    "learnt": f"validation loss below {NOTHING_LEARNT:.0%} of the label-blind loss",
    "validation_ratio": "validation loss over the label-blind loss",
    "held_out_accuracy": "held-out faces nearest to their own emotion's training centroid",
    "held_out_chance": "share of the most frequent emotion among held-out faces",
    "ratio": "second singular value of the centroids over the first",
    "line": "the centroids lie on a line, which has no circular order",
    "order": "circular order of the centroids",
    "swaps": "swaps of neighbours from the paper's order",
    "agrees": "the paper's order",
    "agrees_either": "the paper's order, surprise and fear either way round",
    **{f"overlap_{a}_{b}": f"overlap of {a} and {b} (Bhattacharyya)" for a, b in OVERLAPPING},
    **{
        f"overlap_rank_{a}_{b}": f"rank of that among all couples, 1 the most overlapping ({a}, {b})"
        for a, b in OVERLAPPING
    },
    "happiness_spread": "spread of happiness over the mean spread of an emotion",
    "happiness_rank": "rank of happiness by spread, 1 the tightest",
    "rho_action_units": "rank correlation of distances with those of action units",
    "rho_people": "rank correlation of distances with people's",
}


@dataclass
class Measured:
    """Outcomes by name; None where an outcome is not defined.

    ``drawn`` holds the outcomes that depend on subjects, (B,) float64 each, over the same B draws of subjects.
    ``labels`` is a hash of the images' emotions: shuffled cells with the same hash share one shuffle.
    """

    values: dict[str, Value] = field(default_factory=dict)
    drawn: dict[str, Floats] = field(default_factory=dict)
    labels: str | None = None

    def interval(self, name: str) -> tuple[float, float] | None:
        """The middle 95 % of an outcome's draws; None where there are none."""
        return interval(self.drawn[name]) if name in self.drawn else None


def measure(cell: StoredCell, embedding: Embedding | None, people: Rdm | None, subjects: Weights) -> Measured:
    """All outcomes of a cell; a diverged cell has no embedding."""
    learning = cell.learning
    if learning.diverged or embedding is None:
        return Measured({**dict.fromkeys(OUTCOMES), "diverged": True, "learnt": False})
    found = measure_embedding(embedding, people, subjects)
    found.values["diverged"] = False
    found.labels = hash_bytes("\0".join(embedding.emotions).encode())[:12]
    if learning.validation is not None and learning.validation_blind:
        found.values["validation_ratio"] = learning.validation / learning.validation_blind
        found.values["learnt"] = learning.validation < NOTHING_LEARNT * learning.validation_blind
    return found


def measure_embedding(embedding: Embedding, people: Rdm | None, subjects: Weights) -> Measured:
    """The outcomes of an embedding: geometry of the training subjects, accuracy on the held-out ones.

    Held-out are test subjects, or validation subjects where there are no test subjects.  Outcomes that are not defined
    for its emotions or its number of dimensions are None.
    """
    found = Measured(dict.fromkeys(OUTCOMES))
    train = embedding.of_split("train")
    if not len(train) or not np.isfinite(embedding.points).all():
        return found
    _accuracy(found, train, held_out(embedding), subjects)
    names = tuple(centroids(train.points, train.emotions))
    moments = Moments.of(train.points, train.subjects, train.emotions, names)
    weights = subjects.of(moments.subjects) if len(moments.subjects) >= FEWEST else None
    _circle(found, train, moments, weights)
    _overlaps(found, train, moments, weights)
    _happiness(found, moments, weights)
    for name, reference in (("rho_action_units", of_action_units()), ("rho_people", people)):
        if reference is not None:
            _rho(found, name, reference, moments, weights)
    return found


def held_out(embedding: Embedding) -> Embedding:
    """The test subjects' images; where there are none, the validation subjects'."""
    test = embedding.of_split("test")
    return test if len(test) else embedding.of_split("val")


def _accuracy(found: Measured, train: Embedding, held: Embedding, subjects: Weights) -> None:
    if not len(held):
        return
    nearest = nearest_centroid(train, held)
    right = np.array(nearest.guesses) == np.array(held.emotions)
    record_accuracy(found, right, held, subjects)


def record_accuracy(found: Measured, right: npt.NDArray[np.bool_], held: Embedding, subjects: Weights) -> None:
    """Note the share of ``right`` (N,) answers to held-out images, with its draws, and that of the first emotion."""
    found.values["held_out_accuracy"] = float(right.mean())
    found.values["held_out_chance"] = max(held.emotions.count(e) for e in set(held.emotions)) / len(held)
    who, at = np.unique(np.array(held.subjects), return_inverse=True)
    if len(who) >= FEWEST:
        weights = subjects.of(who.tolist())
        hits, images = np.bincount(at, right, len(who)), np.bincount(at, minlength=len(who)).astype(np.float64)
        found.drawn["held_out_accuracy"] = (weights @ hits) / (weights @ images)


def _circle(found: Measured, train: Embedding, moments: Moments, weights: Floats | None) -> None:
    """Flatness and circular order of three emotions or more in two coordinates."""
    centres = centroids(train.points, train.emotions)
    if len(centres) < 3 or train.points.shape[1] != 2:
        return
    found.values["ratio"] = singular_ratio(np.array(list(centres.values())))
    found.values["line"] = on_a_line(centres)
    if weights is not None:
        means = moments.means(weights)
        sizes = np.linalg.svd(means - means.mean(axis=1, keepdims=True), compute_uv=False)
        found.drawn["ratio"] = np.divide(sizes[:, 1], sizes[:, 0], out=np.zeros(len(sizes)), where=sizes[:, 0] > 0)
    if found.values["line"]:
        return
    order = circular_order(centres)
    found.values["order"] = "-".join(order)
    found.values["swaps"] = swaps_to_paper(order)
    agrees = agreement(order)
    if agrees is not None:
        found.values["agrees"], found.values["agrees_either"] = agrees
        if weights is not None:
            angles = np.arctan2(*np.moveaxis(means - means.mean(axis=1, keepdims=True), 2, 0)[::-1])
            orders = [
                canonical([moments.emotions[i] for i in row]) for row in np.argsort(angles, axis=1, kind="stable")
            ]
            found.drawn["swaps"] = np.array([swaps_to_paper(o) for o in orders], np.float64)


def _overlaps(found: Measured, train: Embedding, moments: Moments, weights: Floats | None) -> None:
    couples = overlaps(train, count=0)
    places = {frozenset(couple.emotions): i for i, couple in enumerate(couples)}
    at = [[moments.emotions.index(e) for e in couple.emotions] for couple in couples]
    drawn = None
    if weights is not None and couples:
        first, second = np.array(at).T
        means = moments.means(weights)
        spreads = moments.covariances(weights) + ridge_of(train.points.astype(np.float64))
        drawn = coefficients(means[:, first], spreads[:, first], means[:, second], spreads[:, second])  # (B, couples)
    for a, b in OVERLAPPING:
        place = places.get(frozenset((a, b)))
        if place is None:
            continue
        found.values[f"overlap_{a}_{b}"] = couples[place].overlap
        found.values[f"overlap_rank_{a}_{b}"] = couples[place].rank
        if drawn is not None:
            found.drawn[f"overlap_{a}_{b}"] = drawn[:, place]
            found.drawn[f"overlap_rank_{a}_{b}"] = 1.0 + (drawn > drawn[:, [place]]).sum(axis=1)


def _happiness(found: Measured, moments: Moments, weights: Floats | None) -> None:
    """Spread of happiness: root mean square distances to the own centroid, of emotions with two images or more."""
    kept = [i for i, count in enumerate(moments.counts.sum(axis=0)) if count > 1]
    if HAPPY not in moments.emotions or len(kept) < 2 or moments.emotions.index(HAPPY) not in kept:
        return
    own = kept.index(moments.emotions.index(HAPPY))

    def spreads(given: Floats) -> Floats:
        traces = np.trace(moments.covariances(given)[:, kept], axis1=2, axis2=3)
        return np.asarray(np.sqrt(np.maximum(traces, 0)))

    def relative(rows: Floats) -> Floats:
        mean = rows.mean(axis=1)
        return np.divide(rows[:, own], mean, out=np.ones(len(rows)), where=mean > 0)

    def ranks(rows: Floats) -> Floats:
        return 1.0 + (rows < rows[:, [own]]).sum(axis=1)

    once = spreads(np.ones((1, len(moments.subjects))))
    found.values["happiness_spread"], found.values["happiness_rank"] = float(relative(once)[0]), int(ranks(once)[0])
    if weights is not None:
        rows = spreads(weights)
        found.drawn["happiness_spread"], found.drawn["happiness_rank"] = relative(rows), ranks(rows)


def _rho(found: Measured, name: str, reference: Rdm, moments: Moments, weights: Floats | None) -> None:
    """Spearman's rho of distances of the emotions that both have, of three or more."""
    both = [e for e in moments.emotions if e in reference.names]
    if len(both) < 3:
        return
    fixed = reference.upper(both)
    keep = _couples_of(moments.emotions, both)
    found.values[name] = float(
        spearman(moments.dissimilarities(np.ones((1, len(moments.subjects))))[:, keep], fixed)[0]
    )
    if weights is not None:
        found.drawn[name] = spearman(moments.dissimilarities(weights)[:, keep], fixed)


def _couples_of(emotions: Sequence[str], some: Sequence[str]) -> list[int]:
    """Places, among all couples of ``emotions``, of those whose both members are in ``some``."""
    return [i for i, couple in enumerate(combinations(emotions, 2)) if set(couple) <= set(some)]
