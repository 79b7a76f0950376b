"""Painting a face: flat areas at several times the size, soft shading at the final size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.faces.action_units import Units
from siamplex.faces.identity import RGB, Identity
from siamplex.faces.landmarks import Eye, Face, Points, curve, place

WIDTH, HEIGHT = 240, 308
_SCALE = 4  # areas are painted this many times larger
_SHIFT = 4  # fixed-point bits of OpenCV's polygon coordinates
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


def draw(who: Identity, units: Units, moment: Moment) -> Image:
    """Paint ``who`` showing ``units``: a (308, 240, 3) BGR uint8 image."""
    face = place(who, units)
    canvas = _Canvas(who, moment)
    _hair_behind(canvas, who, face)
    _body(canvas, who, face)
    _head(canvas, who, face)
    for eye in face.eyes:
        _eye(canvas, who, eye)
    _nose(canvas, who, face)
    _mouth(canvas, who, face, units)
    _hair_in_front(canvas, who, face)
    _creases(canvas, who, face, units)
    _light(canvas, who, face)
    return canvas.finish()


class _Canvas:
    """The painting, the map of soft shade over it, and the pose that places both."""

    def __init__(self, who: Identity, moment: Moment) -> None:
        self._moment = moment
        size = (HEIGHT * _SCALE, WIDTH * _SCALE, 3)
        level = who.background
        self.paint: Image = np.full(size, (level, level, level), np.uint8)
        self.shade = np.zeros((HEIGHT, WIDTH), np.float32)
        angle = np.deg2rad(who.roll + moment.roll)
        scale = who.size * moment.size
        self._turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self._shift = np.array(_CENTRE) + np.array(moment.shift)

    def _fixed(self, points: Points, scale: float) -> npt.NDArray[np.int32]:
        placed = (np.asarray(points, float) @ self._turn.T + self._shift) * scale
        return np.round(placed * (1 << _SHIFT)).astype(np.int32)

    def area(self, points: Points, colour: RGB) -> None:
        cv2.fillPoly(self.paint, [self._fixed(points, _SCALE)], colour[::-1], cv2.LINE_AA, _SHIFT)

    def line(self, points: Points, colour: RGB, width: float) -> None:
        thick = max(1, round(width * _SCALE))
        cv2.polylines(
            self.paint, [self._fixed(points, _SCALE)], False, colour[::-1], thick, cv2.LINE_AA, _SHIFT
        )

    def disc(self, at: tuple[float, float], radius: float, colour: RGB) -> None:
        self.area(_ellipse(at, radius, radius), colour)

    def within(self, points: Points) -> npt.NDArray[np.uint8]:
        """Mask (0 or 255) of an area of the painting."""
        mask = np.zeros(self.paint.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self._fixed(points, _SCALE)], 255, cv2.LINE_AA, _SHIFT)
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
        cv2.polylines(layer, [self._fixed(points, 1)], False, 1.0, thick, cv2.LINE_AA, _SHIFT)
        self.shade += strength * cv2.GaussianBlur(layer, (0, 0), soft)

    def patch(self, points: Points, strength: float, soft: float) -> None:
        """A soft dark (or, negative, light) area."""
        layer = np.zeros_like(self.shade)
        cv2.fillPoly(layer, [self._fixed(points, 1)], 1.0, cv2.LINE_AA, _SHIFT)
        self.shade += strength * cv2.GaussianBlur(layer, (0, 0), soft)

    def finish(self) -> Image:
        small = cv2.resize(self.paint, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        light = np.exp(-self.shade)[:, :, None] * self._moment.exposure
        grain = np.random.default_rng(self._moment.grain).normal(0, 2.0, small.shape)
        soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.6)
        return np.clip(soft * light + grain, 0, 255).astype(np.uint8)


def _ellipse(at: tuple[float, float], a: float, b: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.c_[at[0] + a * np.cos(t), at[1] + b * np.sin(t)]


def _tint(colour: RGB, factor: float, red: float = 0.0) -> RGB:
    r, g, b = colour
    return (min(255.0, r * factor + red), min(255.0, g * factor), min(255.0, b * factor))


# --- hair, body, head


def _hair_behind(canvas: _Canvas, who: Identity, face: Face) -> None:
    w, dark = who.face_width, _tint(who.hair, 0.8)
    if who.style in ("long", "fringe"):
        canvas.area(
            curve([(0, -90), (w + 8, -62), (w + 17, 0), (w + 15, 80), (w + 20, 130), (0, 140),
                   (-w - 20, 130), (-w - 15, 80), (-w - 17, 0), (-w - 8, -62)], True, 120), dark)  # fmt: skip
    elif who.style == "bob":
        canvas.area(
            curve([(0, -90), (w + 9, -62), (w + 18, 0), (w + 14, 62), (0.5 * w, 84), (0, 80),
                   (-0.5 * w, 84), (-w - 14, 62), (-w - 18, 0), (-w - 9, -62)], True, 120), dark)  # fmt: skip
    elif who.style == "bun":
        canvas.area(_ellipse((0, -96), 25, 20), dark)
        canvas.area(_ellipse((0, -34), w + 3, 55), dark)
    elif who.style == "curly":
        count = 20 if who.sex == "F" else 13
        reach = 1.0 if who.sex == "F" else 0.55
        for t in np.linspace(-np.pi * (0.5 + reach / 2), -np.pi * (0.5 - reach / 2), count):
            canvas.disc(((w + 6) * np.cos(t), -22 + (60 if np.sin(t) < 0 else 92) * np.sin(t)), 17, dark)


def _body(canvas: _Canvas, who: Identity, face: Face) -> None:
    neck = 0.52 if who.sex == "F" else 0.66
    w = who.face_width
    canvas.area(
        curve([(-1.9 * w, 190), (-1.75 * w, 140), (-0.9 * w, 122), (-0.3 * w, 112), (0.3 * w, 112),
               (0.9 * w, 122), (1.75 * w, 140), (1.9 * w, 190)], True, 120), who.clothes)  # fmt: skip
    shadow = _tint(who.skin, 0.84)
    throat = np.array([(-neck * w, 50), (-neck * w, 112), (-0.3 * w, 128), (0, 137), (0.3 * w, 128), (neck * w, 112), (neck * w, 50)])
    canvas.area(throat, shadow)


def _head(canvas: _Canvas, who: Identity, face: Face) -> None:
    ears = who.style not in ("long", "bob", "fringe")
    if ears:
        for side in (-1, 1):
            canvas.area(_ellipse((side * (who.face_width + 1), 8), 8, 16), _tint(who.skin, 0.93, 4))
    canvas.area(face.outline, who.skin)
    if who.beard:
        w, chin = who.face_width, face.chin
        x, y = 1.3 * who.yaw, who.mouth_height
        beard = curve([(-w, 26), (-0.9 * w, 58), (-0.6 * w, 0.86 * chin), (0, chin + 1), (0.6 * w, 0.86 * chin),
                       (0.9 * w, 58), (w, 26), (0.74 * w, 46), (0.5 * w, 46), (x, y - 14), (-0.5 * w, 46), (-0.74 * w, 46)], True, 140)  # fmt: skip
        top = canvas.paint.copy()
        colour = tuple(
            s * (1 - 0.62 * who.beard) + h * 0.62 * who.beard
            for s, h in zip(who.skin, who.hair, strict=True)
        )
        cv2.fillPoly(top, [canvas._fixed(beard, _SCALE)], colour[::-1], cv2.LINE_AA, _SHIFT)
        mask = cv2.min(canvas.within(beard), canvas.within(face.outline))
        canvas.blend(top, cv2.GaussianBlur(mask, (0, 0), 3.0 * _SCALE / 2))


def _hair_in_front(canvas: _Canvas, who: Identity, face: Face) -> None:
    w, hair = who.face_width, who.hair
    if who.style == "bald":
        return
    line = {"cropped": -55, "short": -52, "parted": -50, "curly": -50, "bun": -54, "long": -50, "bob": -48, "fringe": -44}[who.style]
    side = {"cropped": -26, "short": -14, "parted": -10, "curly": -16, "bun": -14, "long": 6, "bob": 10, "fringe": 4}[who.style]
    top = {"cropped": -72, "short": -82, "parted": -86, "curly": -84, "bun": -80, "long": -88, "bob": -88, "fringe": -88}[who.style]
    part = 0.35 * w if who.style in ("parted", "long") else 0.0
    inner = [(0.9 * w, side), (0.80 * w, line + 18), (part + 0.1 * w, line - 6), (-0.55 * w, line + 4), (-0.83 * w, line + 20), (-0.9 * w, side)]
    outer = [(-w - 3, side), (-w - 4, -28), (-0.68 * w, top + 10), (0, top), (0.68 * w, top + 10), (w + 4, -28), (w + 3, side)]
    canvas.area(np.vstack([curve(inner, count=60), curve(outer, count=60)]), hair)
    if who.style == "fringe":
        canvas.area(curve([(-0.84 * w, -56), (0.84 * w, -56), (0.72 * w, -40), (0, -36), (-0.72 * w, -40)], True, 80), hair)
    light = _tint(hair, 1.25)
    for x in np.linspace(-0.6, 0.6, 7):
        canvas.line(curve([(x * w, line - 8), (x * w * 0.8, (line + top) / 2), (x * w * 0.5, top + 5)], count=20), light, 0.5)
    if who.style == "curly":
        reach = 0.92 if who.sex == "F" else 0.6
        for t in np.linspace(-np.pi * (0.5 + reach / 2), -np.pi * (0.5 - reach / 2), 15):
            canvas.disc((0.93 * w * np.cos(t), -14 + 58 * np.sin(t)), 10, hair)


# --- features


def _eye(canvas: _Canvas, who: Identity, eye: Eye) -> None:
    opening = np.vstack([eye.upper, eye.lower[::-1]])
    mask = canvas.within(opening)
    plain = canvas.paint.copy()
    canvas.area(opening, (238, 236, 232))
    canvas.disc(eye.iris, eye.iris_radius, _tint(who.eyes, 0.75))
    canvas.disc(eye.iris, eye.iris_radius * 0.86, who.eyes)
    canvas.disc(eye.iris, eye.iris_radius * 0.45, (14, 12, 12))
    canvas.disc((eye.iris[0] - 2.2, eye.iris[1] - 2.4), 1.3, (250, 250, 250))
    painted, canvas.paint = canvas.paint, plain
    canvas.blend(painted, mask)
    lash = (38.0, 28.0, 26.0)
    canvas.line(eye.lower, _tint(who.skin, 0.62), 0.7)
    canvas.line(eye.upper, lash, 1.9 if who.sex == "F" else 1.3)
    canvas.line(eye.fold, _tint(who.skin, 0.72), 0.8)
    canvas.area(eye.brow, _tint(who.hair, 0.8) if sum(who.hair) < 420 else _tint(who.hair, 0.62))


def _nose(canvas: _Canvas, who: Identity, face: Face) -> None:
    x, tip, side, lift = 1.6 * who.yaw, face.nose_tip, face.nose_side, face.nose_wing_lift
    dark = _tint(who.skin, 0.6)
    for s in (-1, 1):
        canvas.area(_ellipse((x + s * 0.48 * side, tip + 1 - 0.6 * lift), 3.0, 1.7), dark)
        wing = curve([(x + s * 0.78 * side, tip - 9 - lift), (x + s * side, tip - 3 - lift), (x + s * 0.84 * side, tip + 2.4 - lift), (x + s * 0.66 * side, tip + 1.6 - 0.7 * lift)], count=24)
        canvas.line(wing, _tint(who.skin, 0.72), 1.0)
    canvas.crease(curve([(x - 0.3 * side, tip + 4), (x, tip + 5.5), (x + 0.3 * side, tip + 4)], count=20), 0.5, 1.4, 1.2)
    bridge = np.array([(x - 3, -6), (x + 3, -6), (x + 4.5, tip - 4), (x - 4.5, tip - 4)])
    canvas.patch(bridge, -0.10, 2.5)
    s = 1 if who.light_angle < 0 else -1
    canvas.crease(curve([(0.4 * x + s * 6, -8), (x + s * 6, 12), (x + s * 0.62 * side, tip - 7)], count=24), 0.28, 2.0, 2.2)


def _mouth(canvas: _Canvas, who: Identity, face: Face, units: Units) -> None:
    mouth = face.mouth
    lip = _tint(who.skin, 0.80, 14 if who.sex == "M" else 22)
    lip = (lip[0], lip[1] * 0.80, lip[2] * 0.82)
    canvas.area(np.vstack([mouth.outer_upper, mouth.inner_upper[::-1]]), _tint(lip, 0.92))
    canvas.area(np.vstack([mouth.inner_lower, mouth.outer_lower[::-1]]), lip)
    if mouth.gap > 0.8:
        inside = np.vstack([mouth.inner_upper, mouth.inner_lower[::-1]])
        mask = canvas.within(inside)
        plain = canvas.paint.copy()
        canvas.area(inside, (58, 22, 24))
        low = float(mouth.inner_lower[:, 1].max())
        middle = float(mouth.inner_lower[:, 0].mean())
        if mouth.gap > 14:
            width = 0.6 * float(np.ptp(mouth.inner_lower[:, 0])) / 2
            canvas.area(_ellipse((middle, low + 1), width, 0.3 * mouth.gap), (166, 82, 84))
        teeth = (240.0, 236.0, 226.0)
        if mouth.upper_teeth > 0.8:
            edge = mouth.inner_upper + (0, mouth.upper_teeth)
            canvas.area(np.vstack([mouth.inner_upper - (0, 2), edge[::-1]]), teeth)
            _tooth_gaps(canvas, edge, mouth.upper_teeth)
        if mouth.lower_teeth > 0.8:
            edge = mouth.inner_lower - (0, mouth.lower_teeth)
            canvas.area(np.vstack([edge, mouth.inner_lower[::-1] + (0, 2)]), _tint(teeth, 0.94))
        painted, canvas.paint = canvas.paint, plain
        canvas.blend(painted, mask)
    else:
        canvas.line(mouth.inner_upper, _tint(lip, 0.5), 1.2)
    for corner in (mouth.inner_upper[0], mouth.inner_upper[-1]):
        canvas.patch(_ellipse((float(corner[0]), float(corner[1])), 2.4, 2.0), 0.35, 1.4)


def _tooth_gaps(canvas: _Canvas, edge: Points, height: float) -> None:
    for i in np.linspace(0, len(edge) - 1, 11).astype(int)[1:-1]:
        x, y = edge[i]
        canvas.line(np.array([(x, y - height), (x, y)]), (206, 200, 190), 0.35)


# --- shading


def _creases(canvas: _Canvas, who: Identity, face: Face, units: Units) -> None:
    """Lines that action units fold into the skin."""

    def u(unit: int) -> float:
        return units.get(unit, 0.0)

    x = who.yaw
    corner = face.mouth.inner_upper[0], face.mouth.inner_upper[-1]
    for s, (cx, cy) in zip((-1, 1), corner, strict=True):
        wing = (1.6 * x + s * (face.nose_side + 2), face.nose_tip - 4 - face.nose_wing_lift)
        fold = 0.14 + 0.75 * u(12) + 0.7 * u(10) + 0.6 * u(9) + 0.15 * u(20)
        reach = max(9.0, abs(cx - wing[0]) * 0.55)
        line = curve([wing, (wing[0] + s * reach, (wing[1] + cy) / 2 - 2), (cx + s * 7, cy + 2)], count=30)
        canvas.crease(line, min(1.0, fold), 1.6, 1.5)
        if u(6):
            cheek = (x + s * 0.60 * who.face_width, 27)
            canvas.patch(_ellipse(cheek, 15, 10), -0.16 * u(6), 5)
            below = curve([(s * (who.eye_spacing - 15) + x, 11), (s * who.eye_spacing + x, 13.5), (s * (who.eye_spacing + 17) + x, 9)], count=24)
            canvas.crease(below, 0.5 * u(6), 1.2, 1.2)
            for dy in (-5, 0, 5):
                start = s * (who.eye_spacing + who.eye_width + 5) + x
                canvas.crease(np.array([(start, 0.4 * dy + 1), (start + s * 8, 1.4 * dy + 1)]), 0.5 * u(6), 1, 0.9)
        if u(4):
            canvas.crease(curve([(x + s * 4.5, -11), (x + s * 3.6, -19), (x + s * 5, -27)], count=12), 0.75 * u(4), 1.2, 1.0)
        if u(9):
            for dy in (0, 5, 10):
                canvas.crease(np.array([(x + s * 2, -3 + dy), (x + s * 8.5, -7 + dy)]), 0.75 * u(9), 1.1, 0.9)
            canvas.crease(curve([(x + s * 9, 2), (x + s * 11, 12), (x + s * 12, 20)], count=12), 0.5 * u(9), 1.3, 1.3)
        if u(15):
            canvas.crease(curve([(cx, cy), (cx + s * 3, cy + 7), (cx + s * 2, cy + 13)], count=12), 0.7 * u(15), 1.3, 1.2)
        if u(20):
            canvas.crease(curve([(cx + s * 5, cy - 8), (cx + s * 8, cy), (cx + s * 6, cy + 9)], count=12), 0.5 * u(20), 1.3, 1.2)
        if u(7):
            canvas.crease(curve([(s * (who.eye_spacing - 12) + x, 9), (s * who.eye_spacing + x, 11), (s * (who.eye_spacing + 12) + x, 8)], count=16), 0.35 * u(7), 1, 1.0)
    raised = min(u(1), u(2))
    for row in range(3):
        y = -who.brow_height - 17 - 7 * row
        span = 0.48 * who.face_width
        canvas.crease(curve([(x - span, y + 2), (x - span / 2, y - 1.5), (x, y), (x + span / 2, y - 1.5), (x + span, y + 2)], count=30), 0.42 * raised, 1.1, 0.9)
    inner_only = max(0.0, u(1) - u(2)) * min(1.0, 2 * u(4))
    for row in range(2):
        y = -who.brow_height - 14 - 6 * row
        canvas.crease(curve([(x - 17, y - 3), (x - 6, y + 2), (x + 6, y + 2), (x + 17, y - 3)], count=20), 0.55 * inner_only, 1.1, 0.9)
    if u(17):
        y = float(face.mouth.outer_lower[:, 1].max()) + 7
        canvas.crease(curve([(x - 12, y + 3), (x, y - 1.5), (x + 12, y + 3)], count=20), 0.8 * u(17), 1.6, 1.4)
        for i, dx in enumerate((-7, -2, 4, 8)):
            canvas.patch(_ellipse((x + dx, y + 9 + 3 * (i % 2)), 1.4, 1.2), 0.5 * u(17), 1.0)
    low = float(face.mouth.outer_lower[:, 1].max())
    canvas.patch(_ellipse((1.3 * x, low + 4), 11, 2.4), 0.22, 2.4)


def _light(canvas: _Canvas, who: Identity, face: Face) -> None:
    """Round the head, and light it from the actor's own side."""
    inside = cv2.resize(canvas.within(face.outline), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) / 255.0
    depth = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 13)
    canvas.shade += (0.55 * (1 - depth) * inside).astype(np.float32)
    across = (np.arange(WIDTH, dtype=np.float32) - WIDTH / 2) / (WIDTH / 2)
    slope = np.sin(np.deg2rad(who.light_angle)) * who.light_strength
    canvas.shade -= (slope * across)[None, :]
    for eye in face.eyes:
        canvas.patch(np.vstack([eye.fold, eye.upper[::-1]]), 0.16, 2.2)
