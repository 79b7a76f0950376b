"""The part of every picture that is kept: a box in shares of width and height."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

SMALLEST = 8  # pixels each way that a box must leave


@dataclass(frozen=True)
class Crop:
    """The box kept: its left, upper, right and lower edge, as shares of the width and height from the upper left."""

    left: float
    top: float
    right: float
    bottom: float

    def __str__(self) -> str:
        return ",".join(f"{edge:.9g}" for edge in (self.left, self.top, self.right, self.bottom))

    @classmethod
    def parse(cls, text: str) -> Crop:
        """From ``left,top,right,bottom``.  Raises ValueError, which says what was expected and found."""
        words = text.split(",")
        expected = "expected left,top,right,bottom, edges of the part kept as shares of width and height"
        try:
            edges = [float(word) for word in words]
        except ValueError:
            raise ValueError(f"{expected}; found '{text}'") from None
        if len(edges) != 4 or not all(isfinite(e) and 0 <= e <= 1 for e in edges):
            raise ValueError(f"{expected}; found '{text}'")
        left, top, right, bottom = edges
        if left >= right or top >= bottom:
            raise ValueError(f"{expected}; found '{text}', which keeps nothing")
        return cls(left, top, right, bottom)

    def cut(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The part of a picture (H, W, 3); edges fall on the nearest pixel.

        Raises ValueError where less than 8 pixels each way are left.
        """
        height, width = picture.shape[:2]
        rows = slice(round(self.top * height), round(self.bottom * height))
        columns = slice(round(self.left * width), round(self.right * width))
        part = picture[rows, columns]
        if min(part.shape[:2]) < SMALLEST:
            raise ValueError(f"{part.shape[1]}x{part.shape[0]} of {width}x{height}")
        return part
