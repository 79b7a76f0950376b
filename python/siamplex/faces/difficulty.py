"""How hard a corpus is: variance shares of its features, and the accuracy of a linear discriminant.

A stand-in corpus is only useful if it is as hard as the real thing.  Drawn faces are compared with photographs by these
figures (docs/recipe.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Shares:
    """Shares (0..1, together 1) of the variance of features.

    ``person``: between people.  ``emotion``: the effect of emotions that is the same in everyone.  ``neither``: the
    rest, including the effect of an emotion in one person alone.
    """

    person: float
    emotion: float
    neither: float


def shares(features: Array, people: Sequence[str], emotions: Sequence[str]) -> Shares:
    """Split the variance of features (N, D), whose rows are images of ``people`` showing ``emotions``.

    Each share is the part of the sum of squares, about the mean row, that least squares on the labels
    explains: people first, then emotions.
    """
    gram = _centred_gram(features)
    total = float(np.trace(gram))
    one, both = _indicators(people), np.hstack([_indicators(people), _indicators(emotions)])
    person, together = (_explained(gram, design) / total for design in (one, both))
    return Shares(person, together - person, 1 - together)


def told_right(
    features: Array,
    people: Sequence[str],
    emotions: Sequence[str],
    components: int = 200,
    folds: int = 8,
    seed: int = 0,
) -> float:
    """Accuracy (0..1) of a linear discriminant of emotions on people it was not fitted to.

    People are dealt to ``folds`` at random.  Of each fold, the first ``components`` principal components of
    the other folds' features (N, D) are taken, and the covariance within emotions is shrunk as Ledoit and Wolf
    (2004) shrink it.
    """
    gram = _centred_gram(features)
    names = sorted(set(people))
    dealt = dict(zip(np.random.default_rng(seed).permutation(names), np.arange(len(names)) % folds, strict=True))
    fold = np.array([dealt[p] for p in people])
    labels = np.array(emotions)
    right = np.zeros(len(labels), bool)
    for number in range(folds):
        seen = fold != number
        if seen.all():
            continue
        right[~seen] = told(gram, seen, labels, components) == labels[~seen]
    return float(right.mean())


def told(
    gram: Array, seen: npt.NDArray[np.bool_], labels: npt.NDArray[np.str_], components: int = 200
) -> npt.NDArray[np.str_]:
    """Predictions of a linear discriminant, fitted to the rows ``seen`` (N,) and their ``labels``, for the others.

    Of rows only their inner products ``gram`` (N, N) are needed; see :func:`told_right`.
    """
    fitted, held = _components(gram, seen, components)
    return _discriminant(fitted, labels[seen], held)


def _centred_gram(features: Array) -> Array:
    """Inner products (N, N) of the rows less the mean row, float64."""
    centred = features.astype(np.float64)
    centred -= centred.mean(axis=0)
    return np.asarray(centred @ centred.T)


def _indicators(labels: Sequence[str]) -> Array:
    return np.asarray(np.array(labels)[:, None] == np.unique(labels)[None], np.float64)


def _explained(gram: Array, design: Array) -> float:
    """Sum of squares explained by a least-squares fit to ``design`` (N, K), of rows whose products are ``gram``."""
    basis, size, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, size > 1e-9 * size[0]]
    return float(np.einsum("ij,ij->", basis, gram @ basis))


def _components(gram: Array, seen: npt.NDArray[np.bool_], most: int) -> tuple[Array, Array]:
    """Principal components of the rows ``seen`` and the same of all others, from inner products alone."""
    inner, outer = gram[np.ix_(seen, seen)], gram[np.ix_(~seen, seen)]
    middle = inner.mean(axis=0)
    outer = outer - outer.mean(axis=1, keepdims=True) - middle + middle.mean()
    inner = inner - middle - middle[:, None] + middle.mean()
    size, axes = np.linalg.eigh(inner)
    keep = np.flatnonzero(size > 1e-10 * size[-1])[::-1][:most]
    length = np.sqrt(size[keep])
    return axes[:, keep] * length, outer @ axes[:, keep] / length


def _discriminant(fitted: Array, labels: npt.NDArray[np.str_], held: Array) -> npt.NDArray[np.str_]:
    """Labels that a linear discriminant fitted to rows ``fitted`` gives rows ``held``."""
    names, which, count = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.stack([fitted[which == i].mean(axis=0) for i in range(len(names))])
    scale = fitted.std(axis=0) + 1e-12
    covariance, _ = ledoit_wolf((fitted - means[which]) / scale, assume_centered=True)
    weights = np.linalg.solve(covariance, (means / scale).T)
    bias = np.log(count / count.sum()) - 0.5 * np.einsum("kd,dk->k", means / scale, weights)
    return np.asarray(names[np.argmax((held / scale) @ weights + bias, axis=1)])
