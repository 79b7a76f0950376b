"""A canvas for faces: flat areas at several times the size, soft shade at the final size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.faces.camera import photograph
from siamplex.faces.identity import RGB, Identity
from siamplex.faces.landmarks import Points
from siamplex.faces.moment import Moment
from siamplex.faces.pose import Pose

WIDTH, HEIGHT = 240, 308
SCALE = 4  # areas are painted this many times larger
SHIFT = 4  # fixed-point bits of OpenCV's polygon coordinates
_CENTRE = (WIDTH / 2, 146.0)  # where the point between the eyes comes to lie

Image = npt.NDArray[np.uint8]  # (308, 240, 3) BGR


class Canvas:
    """The painting, the map of soft shade over it, and the pose that places both."""

    def __init__(self, who: Identity, moment: Moment) -> None:
        self._moment = moment
        self._pose = Pose(who, moment, _CENTRE)
        self._placed = self._pose.head
        level = round(min(250.0, who.background * moment.background))
        self.paint: Image = np.full((HEIGHT * SCALE, WIDTH * SCALE, 3), level, np.uint8)
        self.shade = np.zeros((HEIGHT, WIDTH), np.float32)

    @contextmanager
    def of_body(self) -> Iterator[None]:
        """Within, points belong to neck and shoulders, which do not turn with the head."""
        self._placed = self._pose.body
        try:
            yield
        finally:
            self._placed = self._pose.head

    def fixed(self, points: Points, scale: float) -> npt.NDArray[np.int32]:
        placed = self._placed(np.asarray(points, float)) * scale
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
        thick = max(1, round(width))
        fixed = self.fixed(points, 1)
        box, corner = _box(fixed, soft, thick)
        layer = np.zeros_like(self.shade[box])
        if not layer.size:
            return
        cv2.polylines(layer, [fixed - corner], False, 1.0, thick, cv2.LINE_AA, SHIFT)
        self.shade[box] += strength * cv2.GaussianBlur(layer, (0, 0), soft)

    def patch(self, points: Points, strength: float, soft: float) -> None:
        """A soft dark (or, negative, light) area."""
        self.raise_area(self.shade, points, strength, soft)

    def raise_area(self, layer: npt.NDArray[np.float32], points: Points, strength: float, soft: float) -> None:
        """Add ``strength`` to ``layer`` (308, 240) over an area with edges blurred by ``soft`` pixels."""
        fixed = self.fixed(points, 1)
        box, corner = _box(fixed, soft, 1)
        part = np.zeros_like(layer[box])
        if part.size:
            cv2.fillPoly(part, [fixed - corner], 1.0, cv2.LINE_AA, SHIFT)
            layer[box] += strength * cv2.GaussianBlur(part, (0, 0), soft)

    def finish(self) -> Image:
        small = cv2.resize(self.paint, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        lit = small.astype(np.float32) * np.exp(-self.shade)[:, :, None]
        return photograph(lit, self._moment)


def _box(fixed: npt.NDArray[np.int32], soft: float, thick: int) -> tuple[tuple[slice, slice], npt.NDArray[np.int32]]:
    """The part of a layer that a blurred shape reaches, and its corner in OpenCV's fixed-point coordinates."""
    margin = int(np.ceil(4 * soft)) + thick + 1
    low, high = (fixed.min(axis=0) >> SHIFT) - margin, (fixed.max(axis=0) >> SHIFT) + margin + 2
    x0, x1 = (int(np.clip(v, 0, WIDTH)) for v in (low[0], high[0]))
    y0, y1 = (int(np.clip(v, 0, HEIGHT)) for v in (low[1], high[1]))
    return (slice(y0, y1), slice(x0, x1)), np.array((x0, y0), np.int32) << SHIFT


def ellipse(at: tuple[float, float], a: float, b: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.c_[at[0] + a * np.cos(t), at[1] + b * np.sin(t)]


def tint(colour: RGB, factor: float, red: float = 0.0) -> RGB:
    r, g, b = colour
    return (min(255.0, r * factor + red), min(255.0, g * factor), min(255.0, b * factor))
