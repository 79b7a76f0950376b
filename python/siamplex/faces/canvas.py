"""A canvas for faces: flat areas at several times the size, soft shade at the final size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.faces.identity import RGB, Identity
from siamplex.faces.landmarks import Points

WIDTH, HEIGHT = 240, 308
SCALE = 4  # areas are painted this many times larger
SHIFT = 4  # fixed-point bits of OpenCV's polygon coordinates
_CENTRE = (WIDTH / 2, 138.0)  # where the point between the eyes comes to lie

Image = npt.NDArray[np.uint8]  # (308, 240, 3) BGR


@dataclass(frozen=True)
class Moment:
    """What differs between two photographs of one actor and has nothing to do with expression."""

    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    size: float = 1.0
    exposure: float = 1.0
    grain: int = 0


class Canvas:
    """The painting, the map of soft shade over it, and the pose that places both."""

    def __init__(self, who: Identity, moment: Moment) -> None:
        self._moment = moment
        size = (HEIGHT * SCALE, WIDTH * SCALE, 3)
        level = who.background
        self.paint: Image = np.full(size, (level, level, level), np.uint8)
        self.shade = np.zeros((HEIGHT, WIDTH), np.float32)
        angle = np.deg2rad(who.roll + moment.roll)
        scale = who.size * moment.size
        self._turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self._shift = np.array(_CENTRE) + np.array(moment.shift)

    def fixed(self, points: Points, scale: float) -> npt.NDArray[np.int32]:
        placed = (np.asarray(points, float) @ self._turn.T + self._shift) * scale
        return np.round(placed * (1 << SHIFT)).astype(np.int32)

    def area(self, points: Points, colour: RGB) -> None:
        cv2.fillPoly(self.paint, [self.fixed(points, SCALE)], colour[::-1], cv2.LINE_AA, SHIFT)

    def line(self, points: Points, colour: RGB, width: float) -> None:
        thick = max(1, round(width * SCALE))
        cv2.polylines(self.paint, [self.fixed(points, SCALE)], False, colour[::-1], thick, cv2.LINE_AA, SHIFT)

    def disc(self, at: tuple[float, float], radius: float, colour: RGB) -> None:
        self.area(ellipse(at, radius, radius), colour)

    def within(self, points: Points) -> npt.NDArray[np.uint8]:
        """Mask (0 or 255) of an area of the painting."""
        mask = np.zeros(self.paint.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self.fixed(points, SCALE)], 255, cv2.LINE_AA, SHIFT)
        return mask

    def blend(self, top: Image, mask: npt.NDArray[np.uint8]) -> None:
        """Lay ``top`` over the painting where ``mask`` is set."""
        rows, columns = np.where(mask.any(axis=1))[0], np.where(mask.any(axis=0))[0]
        if not len(rows):
            return
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        share = mask[box][:, :, None].astype(np.float32) / 255
        self.paint[box] = top[box] * share + self.paint[box] * (1 - share)

    def crease(self, points: Points, strength: float, width: float = 1.2, soft: float = 1.1) -> None:
        """A soft dark line; negative strength lights up instead."""
        layer = np.zeros_like(self.shade)
        thick = max(1, round(width))
        cv2.polylines(layer, [self.fixed(points, 1)], False, 1.0, thick, cv2.LINE_AA, SHIFT)
        self.shade += strength * cv2.GaussianBlur(layer, (0, 0), soft)

    def patch(self, points: Points, strength: float, soft: float) -> None:
        """A soft dark (or, negative, light) area."""
        layer = np.zeros_like(self.shade)
        cv2.fillPoly(layer, [self.fixed(points, 1)], 1.0, cv2.LINE_AA, SHIFT)
        self.shade += strength * cv2.GaussianBlur(layer, (0, 0), soft)

    def finish(self) -> Image:
        small = cv2.resize(self.paint, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        light = np.exp(-self.shade)[:, :, None] * self._moment.exposure
        grain = np.random.default_rng(self._moment.grain).normal(0, 2.0, small.shape)
        soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.6)
        return np.clip(soft * light + grain, 0, 255).astype(np.uint8)


def ellipse(at: tuple[float, float], a: float, b: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.c_[at[0] + a * np.cos(t), at[1] + b * np.sin(t)]


def tint(colour: RGB, factor: float, red: float = 0.0) -> RGB:
    r, g, b = colour
    return (min(255.0, r * factor + red), min(255.0, g * factor), min(255.0, b * factor))
