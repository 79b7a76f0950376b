"""Centroids, covariances and dissimilarities under weighted subjects, for many weightings at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siamplex.geometry.orders import Points

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Sums over the images of each of S subjects and E emotions, of points with D coordinates.

    ``counts`` (S, E), ``sums`` (S, E, D), ``squares`` (S, E, D, D), all float64.  Methods take weights (B, S) of the
    subjects; weights of 1 give what :mod:`siamplex.geometry.orders` and :mod:`siamplex.similarity` give.
    """

    subjects: tuple[str, ...]
    emotions: tuple[str, ...]
    counts: Floats
    sums: Floats
    squares: Floats

    @classmethod
    def of(cls, points: Points, subjects: Sequence[str], emotions: Sequence[str], names: Sequence[str]) -> Moments:
        """Of points (N, D); emotions in the order of ``names``."""
        points = np.asarray(points, np.float64)
        who, at = np.unique(np.array(subjects), return_inverse=True)
        what = np.array([list(names).index(e) for e in emotions], np.intp)
        shape = len(who), len(names)
        width = points.shape[1]
        counts, sums, squares = np.zeros(shape), np.zeros((*shape, width)), np.zeros((*shape, width, width))
        np.add.at(counts, (at, what), 1)
        np.add.at(sums, (at, what), points)
        np.add.at(squares, (at, what), points[:, :, None] * points[:, None])
        return cls(tuple(who.tolist()), tuple(names), counts, sums, squares)

    def means(self, weights: Floats) -> Floats:
        """Emotions' centroids (B, E, D), each image counting as its subject does."""
        return np.asarray(np.einsum("bs,sed->bed", weights, self.sums) / (weights @ self.counts)[..., None])

    def covariances(self, weights: Floats) -> Floats:
        """Emotions' covariances (B, E, D, D) about their centroids, divided by the weight of their images."""
        means = self.means(weights)
        count = (weights @ self.counts)[..., None, None]
        return np.asarray(
            np.einsum("bs,sedf->bedf", weights, self.squares) / count - means[..., None] * means[..., None, :]
        )

    def dissimilarities(self, weights: Floats) -> Floats:
        """Euclidean distances (B, E (E - 1) / 2) of emotions' patterns: the mean of their subjects' mean points."""
        present = self.counts > 0
        cells = np.divide(self.sums, self.counts[..., None], out=np.zeros_like(self.sums), where=present[..., None])
        patterns = np.einsum("bs,sed->bed", weights, cells) / (weights @ present)[..., None]
        first, second = np.triu_indices(len(self.emotions), 1)
        return np.asarray(np.linalg.norm(patterns[:, first] - patterns[:, second], axis=2))
