"""Positions of the parts of a face: an actor's own measures, moved by action units.

Coordinates are pixels from the point between the eyes of an upright face, x to the right, y down,
at the size of a 240x308 image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from siamplex.faces.action_units import Units
from siamplex.faces.expression import Expression
from siamplex.faces.identity import Identity

Points = npt.NDArray[np.float64]  # (n, 2)

# how far action units move each part, as factors of the lengths below
_EYES, _BROWS, _MOUTH = 0.8, 0.9, 1.15
_JAW = 11.5  # pixels that a fully stretched mouth lowers the chin


def curve(points: Sequence[tuple[float, float]], closed: bool = False, count: int = 60) -> Points:
    """``count`` points (count, 2) on a smooth curve through ``points``."""
    p = np.array([*points, points[0]] if closed else points, float)
    at = np.r_[0, np.cumsum(np.sqrt(np.hypot(*np.diff(p, axis=0).T)))]
    spline = CubicSpline(at, p, bc_type="periodic" if closed else "natural")
    result: Points = spline(np.linspace(0, at[-1], count))
    return result


@dataclass(frozen=True)
class Eye:
    """One eye: opening, iris, lid fold, brow (an area), on the side ``side`` (-1 left, 1 right)."""

    side: int
    upper: Points
    lower: Points
    fold: Points
    iris: tuple[float, float]
    iris_radius: float
    brow: Points


@dataclass(frozen=True)
class Mouth:
    """Lip edges from the left corner to the right: outer and inner, upper and lower."""

    outer_upper: Points
    inner_upper: Points
    inner_lower: Points
    outer_lower: Points
    gap: float
    upper_teeth: float
    lower_teeth: float


@dataclass(frozen=True)
class Face:
    """All parts of one face in one moment."""

    outline: Points
    chin: float
    eyes: tuple[Eye, Eye]
    mouth: Mouth
    mouth_middle: float
    nose_side: float
    nose_tip: float
    nose_wing_lift: float


def place(who: Identity, shown: Expression, gaze: tuple[float, float] = (0.0, 0.0)) -> Face:
    """The frontal face of ``who`` showing ``shown``, the irises moved by ``gaze``."""
    u = _reader(shown.units)
    mouth = _mouth(who, shown)
    drop = 10 * u(26) + _JAW * u(27)
    lift = 4.0 * u(9) + 1.0 * u(10)
    return Face(
        outline=_outline(who, drop, u(6), u(12)),
        chin=who.face_height + drop,
        eyes=(_eye(who, shown.side(-1), -1, gaze), _eye(who, shown.side(1), 1, gaze)),
        mouth=mouth,
        mouth_middle=float((mouth.outer_upper[:, 1].mean() + mouth.outer_lower[:, 1].mean()) / 2),
        nose_side=who.nose_width * (1 + 0.16 * u(9) + 0.10 * u(12) + 0.06 * u(10)),
        nose_tip=who.nose_length,
        nose_wing_lift=lift,
    )


def _reader(units: Units, gain: float = 1.0) -> Callable[[int], float]:
    return lambda unit: units.get(unit, 0.0) * gain


def _outline(who: Identity, drop: float, cheek: float, smile: float) -> Points:
    w, chin = who.face_width, who.face_height + drop
    jaw = 0.62 + 0.2 * who.jaw
    bulge = 1 + 0.03 * cheek + 0.02 * smile
    right = [
        (0.0, -68.0),
        (0.62 * w, -58.0),
        (0.95 * w, -24.0),
        (1.0 * w * bulge, 12.0),
        (0.93 * w * bulge, 44.0),
        (jaw * w, 0.80 * chin),
        ((0.26 + 0.1 * who.jaw) * w, 0.975 * chin),
        (0.0, chin),
    ]
    left = [(-x, y) for x, y in reversed(right[1:-1])]
    return curve([*right, *left], closed=True, count=160)


def _eye(who: Identity, units: Units, side: int, gaze: tuple[float, float]) -> Eye:
    u = _reader(units, _EYES)
    half, height = who.eye_width, who.eye_height
    upper = max(1.2, height * (1 + 0.62 * u(5) - 0.42 * u(7) - 0.2 * u(6) - 0.45 * u(43) - 0.15 * u(9)))
    lower = max(0.8, height * 0.62 * (1 + 0.18 * u(5) - 0.75 * u(7) - 0.85 * u(6) - 0.3 * u(9)))
    tilt = -1.0 + 1.2 * u(1) * u(15)  # outer corner against inner, down where sad
    inner, outer = (-half, 0.6), (half, tilt)
    x0 = who.eye_spacing * side

    def at(points: list[tuple[float, float]]) -> Points:
        c = curve(points)
        return np.c_[x0 + side * c[:, 0], c[:, 1]]

    inner_lift = 1.6 * u(1) * min(1.0, u(4) * 2) if u(15) or u(20) else 0.0
    upper_line = at(
        [
            inner,
            (-0.5 * half, -0.86 * upper - inner_lift),
            (0.08 * half, -upper),
            (0.62 * half, -0.72 * upper),
            outer,
        ]
    )
    lower_line = at([inner, (-0.4 * half, 0.8 * lower), (0.15 * half, lower), (0.65 * half, 0.66 * lower), outer])
    fold = at(
        [
            (-0.86 * half, -0.5 * upper - 3.0),
            (0.1 * half, -upper - 3.4 + 0.9 * u(5)),
            (0.98 * half, -0.3 * upper - 2.4),
        ]
    )
    return Eye(
        side=side,
        upper=upper_line,
        lower=lower_line,
        fold=fold,
        iris=(x0 + gaze[0], -0.12 * height + 0.15 * height * u(43) + gaze[1]),
        iris_radius=min(7.4, 0.47 * half),
        brow=_brow(who, units, side),
    )


def _brow(who: Identity, units: Units, side: int) -> Points:
    u = _reader(units, _BROWS)
    base = -who.brow_height
    inner_y = base + 2.0 - 11.0 * u(1) + 8.5 * u(4) + 3.5 * u(9)
    middle_y = base - who.brow_arch - 5.0 * u(1) - 8.0 * u(2) + 4.5 * u(4) + 2.0 * u(9)
    outer_y = base + 3.0 - 9.0 * u(2) + 1.0 * u(4) + 2.6 * u(1) * (1 - min(1.0, u(2)))
    pinch = 5.0 * u(4) + 2.0 * u(9)
    spread = who.eye_spacing
    x_in = max(5.0, spread - 18.5 - pinch)
    x_mid, x_out = spread + 3.0, spread + 21.0
    line = curve(
        [
            (x_in, inner_y),
            ((x_in + x_mid) / 2, (inner_y + middle_y) / 2 - 0.8),
            (x_mid, middle_y),
            (x_out, outer_y),
        ]
    )
    along = np.linspace(0, 1, len(line))
    half = 0.5 * who.brow_thickness * (1.15 - 0.95 * along**1.6) * np.minimum(1, 0.45 + 6 * along)
    area = np.vstack([line + np.c_[0 * half, -half], (line + np.c_[0 * half, half])[::-1]])
    return np.c_[side * area[:, 0], area[:, 1]]


def _mouth(who: Identity, shown: Expression) -> Mouth:
    u = _reader(shown.units, _MOUTH)
    y0 = who.mouth_height - 4.5 * u(17) * (1 - 0.5 * u(24)) - 1.5 * u(9)
    half = who.mouth_width * (
        1 + 0.34 * u(12) + 0.30 * u(20) - 0.34 * u(27) - 0.12 * u(24) - 0.14 * u(22) + 0.05 * u(15) + 0.08 * u(16)
    )
    corners = [_corner(shown.side(side)) for side in (-1, 1)]
    smile = [0.34 * who.mouth_width * (shown.side(side).get(12, 0.0) - u(12)) for side in (-1, 1)]
    parted = min(1.0, u(25))
    up = parted * (1.2 + 4.8 * u(10) + 1.2 * u(12) + 1.0 * u(27))
    down = parted * (2.2 + 4.0 * u(12) + 7.0 * u(16) + 12.0 * u(26) + 1.3 * _JAW * u(27) + 3.0 * u(20))
    bow = 3.0 * u(17) + 2.0 * u(10) * (1 - parted)  # the middle pushed up, corners hanging
    thin = 1 - 0.5 * u(24) - 0.25 * u(23) - 0.18 * u(12) - 0.12 * u(20)
    upper_lip = max(1.4, who.lip * 0.82 * thin * (1 + 0.1 * u(22)))
    lower_lip = max(1.6, who.lip * 1.12 * thin * (1 + 0.25 * u(17) + 0.15 * u(22)))
    square = 0.30 * u(10) * parted + 0.45 * u(16) * parted + 0.35 * u(20) * parted
    top, bottom = y0 - up - bow, y0 + down - bow
    (left, right), (wide_left, wide_right) = (y0 + c for c in corners), (half + s for s in smile)

    def line(middle: float, fullness: float, dip: float = 0.0) -> Points:
        return curve(
            [
                (-wide_left, left),
                (-0.58 * wide_left, left + (middle - left) * fullness),
                (-0.2 * half, middle),
                (0.0, middle + dip),
                (0.2 * half, middle),
                (0.58 * wide_right, right + (middle - right) * fullness),
                (wide_right, right),
            ]
        )

    round_off = min(0.96, 0.74 + 0.3 * square)
    return Mouth(
        outer_upper=line(top - upper_lip, round_off, dip=0.22 * upper_lip),
        inner_upper=line(top, round_off, dip=0.5 if not parted else 0.0),
        inner_lower=line(bottom, round_off),
        outer_lower=line(bottom + lower_lip, min(0.95, round_off + 0.04)),
        gap=up + down,
        upper_teeth=min(0.42 * (up + down), 4.0 + 4.0 * u(12) + 3.5 * u(10)) if parted else 0.0,
        lower_teeth=min(0.35 * (up + down), 5.5 * u(16)) if parted else 0.0,
    )


def _corner(units: Units) -> float:
    """How far a corner of the mouth is pulled down."""
    u = _reader(units, _MOUTH)
    return float(-10.5 * u(12) + 8.5 * u(15) + 2.5 * u(20) + 1.5 * u(26) + 6.0 * u(27) + 3.5 * u(17) + 1.5 * u(10))
