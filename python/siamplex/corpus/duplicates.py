"""Near-duplicates: pictures that differ only in encoding, scale, brightness or colour.

Pictures are reduced to 64 x 64 grey values of mean 0 and deviation 1.  Two are near-duplicates if no block of 8 x 8
differs by more than :data:`NEAR` on average.  An expression changes at least one block: among 260 drawn faces no two of
one actor came below 0.29, while copies (JPEG of quality 20 to 90, half and double size, grey, noise of 6 values) stayed
within 0.07.  A shifted, turned or mirrored copy is not found.

Candidates are pictures whose 16 x 16 reductions correlate by :data:`ALIKE` or more.  They are found by one matrix
product in blocks: time grows with the square of the number of pictures, memory with the number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

SIDE, _COARSE, _BLOCK = 64, 16, 8
NEAR = 0.1
ALIKE = 0.995
_ROWS = 1024
_AT_ONCE = 1024  # couples looked at in one go
MOST = 200_000  # couples looked at in all: pictures that all look alike must not take for ever

Greys = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Near:
    """Couples (P, 2) of near-duplicates, first < second; ``whole`` is False where too many looked alike to see all."""

    couples: npt.NDArray[np.int64]
    whole: bool


def reduced(picture: npt.NDArray[np.uint8]) -> Greys:
    """A picture (H, W, 3) as (64, 64) grey values."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def near_duplicates(greys: Greys) -> Near:
    """Couples of near-duplicates among pictures (N, 64, 64)."""
    found, looked = [np.empty((0, 2), np.int64)], 0
    for couples in _alike(_coarse(greys)):
        couples = couples[: MOST - looked]
        looked += len(couples)
        for start in range(0, len(couples), _AT_ONCE):
            some = couples[start : start + _AT_ONCE]
            found.append(some[_worst(greys[some[:, 0]], greys[some[:, 1]]) <= NEAR])
        if looked >= MOST:
            return Near(np.concatenate(found), False)
    return Near(np.concatenate(found), True)


def _coarse(greys: Greys) -> npt.NDArray[np.float32]:
    """Unit vectors (N, 256) of the 16 x 16 reductions; zero for a picture without contrast."""
    step = SIDE // _COARSE
    rows = greys.reshape(len(greys), _COARSE, step, _COARSE, step).mean(axis=(2, 4), dtype=np.float32)
    rows = rows.reshape(len(greys), _COARSE**2)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > _COARSE)


def _alike(rows: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.int64]]:
    """Couples whose coarse reductions correlate, a block of rows at a time."""
    for start in range(0, len(rows), _ROWS):
        products = rows[start : start + _ROWS] @ rows[start:].T
        first, second = np.nonzero(products >= ALIKE)
        later = second > first
        yield np.stack([first[later] + start, second[later] + start], axis=1)


def _worst(one: Greys, other: Greys) -> npt.NDArray[np.float32]:
    """The mean difference (P,) of the block that differs most, of normalised pictures (P, 64, 64)."""
    gap = np.abs(_normalised(one) - _normalised(other))
    count = SIDE // _BLOCK
    blocks = gap.reshape(len(one), count, _BLOCK, count, _BLOCK).mean(axis=(2, 4))
    return np.asarray(blocks.max(axis=(1, 2)), np.float32)


def _normalised(greys: Greys) -> npt.NDArray[np.float32]:
    values = greys.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    return values / np.maximum(values.std(axis=(1, 2), keepdims=True), 1.0)
