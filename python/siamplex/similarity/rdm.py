"""Representational dissimilarity matrices: how far apart each two emotions are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from siamplex.faces.action_units import prototype
from siamplex.geometry.orders import PAPER_ORDER

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rdm:
    """Dissimilarities ``values`` (K, K) float64, symmetric, zero on the diagonal, of the named items."""

    names: tuple[str, ...]
    values: Matrix

    def upper(self, names: Sequence[str] | None = None) -> Matrix:
        """The K (K - 1) / 2 dissimilarities above the diagonal, in the order of ``names``."""
        order = [self.names.index(n) for n in (names or self.names)]
        return self.values[np.ix_(order, order)][np.triu_indices(len(order), 1)]

    def of(self, names: Sequence[str]) -> Rdm:
        """The dissimilarities of some items only, in that order."""
        order = [self.names.index(n) for n in names]
        return Rdm(tuple(names), self.values[np.ix_(order, order)])

    def pairs(self) -> list[tuple[str, str]]:
        """The couples that :meth:`upper` lists."""
        return list(combinations(self.names, 2))


def from_products(products: Matrix, names: Sequence[str], method: str) -> Rdm:
    """Distances of K patterns from their inner products (K, K).

    ``euclidean``: the length of the difference.  ``correlation``: 1 - r, for products of patterns
    less their mean over features.
    """
    square = np.maximum(np.diag(products), 0)
    if method == "euclidean":
        values = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * products, 0))
    else:
        norm = np.sqrt(np.outer(square, square))
        values = 1 - np.divide(products, norm, out=np.zeros_like(products), where=norm > 0)
    np.fill_diagonal(values, 0)
    return Rdm(tuple(names), (values + values.T) / 2)


def of_action_units(order: Sequence[str] = PAPER_ORDER) -> Rdm:
    """Euclidean distances of the FACS prototypes of the paper's emotions, closed and open mouth averaged."""
    units = sorted({u for e in PAPER_ORDER for v in "CO" for u in prototype(e, v)})
    rows = [[np.mean([prototype(e, v).get(u, 0.0) for v in "CO"]) for u in units] for e in order]
    table = np.array(rows, np.float64)
    return from_products(table @ table.T, order, "euclidean")


def of_circle(order: Sequence[str] = PAPER_ORDER) -> Rdm:
    """Euclidean distances of points evenly spaced on a circle, in ``order``: the paper's model."""
    count = len(order)
    steps = np.abs(np.arange(count)[:, None] - np.arange(count)[None])
    # by whole steps, so that equal distances are equal to the last digit
    chords = [0.0, *(2 * np.sin(np.pi * k / count) for k in range(1, count // 2 + 1))]
    return Rdm(tuple(order), np.array(chords)[np.minimum(steps, count - steps)])
