"""Eyes, nose and mouth."""

from __future__ import annotations

import numpy as np

from siamplex.faces.canvas import Canvas, ellipse, tint
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import Eye, Face, Points, curve

_SCLERA = (215, 211, 207)  # in the shade of the lids


def eye(canvas: Canvas, who: Identity, eye: Eye) -> None:
    opening = np.vstack([eye.upper, eye.lower[::-1]])
    mask = canvas.within(opening)
    plain = canvas.paint.copy()
    canvas.area(opening, _SCLERA)
    canvas.disc(eye.iris, eye.iris_radius, tint(who.eyes, 0.75))
    canvas.disc(eye.iris, eye.iris_radius * 0.86, who.eyes)
    canvas.disc(eye.iris, eye.iris_radius * 0.45, (14, 12, 12))
    canvas.disc((eye.iris[0] - 2.2, eye.iris[1] - 2.4), 1.3, (250, 250, 250))
    painted, canvas.paint = canvas.paint, plain
    canvas.blend(painted, mask)
    lash = (38.0, 28.0, 26.0)
    canvas.line(eye.lower, tint(who.skin, 0.62), 0.7)
    canvas.line(eye.upper, lash, 1.9 if who.sex == "F" else 1.3)
    canvas.line(eye.fold, tint(who.skin, 0.72), 0.8)
    canvas.area(eye.brow, tint(who.hair, 0.8) if sum(who.hair) < 420 else tint(who.hair, 0.62))


def nose(canvas: Canvas, who: Identity, face: Face) -> None:
    tip, side, lift = face.nose_tip, face.nose_side, face.nose_wing_lift
    dark = tint(who.skin, 0.6)
    for s in (-1, 1):
        canvas.area(ellipse((s * 0.48 * side, tip + 1 - 0.6 * lift), 3.0, 1.7), dark)
        wing = curve(
            [
                (s * 0.78 * side, tip - 9 - lift),
                (s * side, tip - 3 - lift),
                (s * 0.84 * side, tip + 2.4 - lift),
                (s * 0.66 * side, tip + 1.6 - 0.7 * lift),
            ],
            count=24,
        )
        canvas.line(wing, tint(who.skin, 0.72), 1.0)
    canvas.crease(curve([(-0.3 * side, tip + 4), (0.0, tip + 5.5), (0.3 * side, tip + 4)], count=20), 0.5, 1.4, 1.2)
    bridge = np.array([(-3, -6), (3, -6), (4.5, tip - 4), (-4.5, tip - 4)])
    canvas.patch(bridge, -0.10, 2.5)
    s = 1 if who.light_azimuth < 0 else -1
    canvas.crease(
        curve([(s * 6, -8), (s * 6, 12), (s * 0.62 * side, tip - 7)], count=24),
        0.28,
        2.0,
        2.2,
    )


def mouth(canvas: Canvas, who: Identity, face: Face) -> None:
    mouth = face.mouth
    lip = tint(who.skin, 0.80, 14 if who.sex == "M" else 22)
    lip = (lip[0], lip[1] * 0.80, lip[2] * 0.82)
    canvas.area(np.vstack([mouth.outer_upper, mouth.inner_upper[::-1]]), tint(lip, 0.92))
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
            canvas.area(ellipse((middle, low + 1), width, 0.3 * mouth.gap), (166, 82, 84))
        teeth = (240.0, 236.0, 226.0)
        if mouth.upper_teeth > 0.8:
            edge = mouth.inner_upper + np.array((0, mouth.upper_teeth))
            canvas.area(np.vstack([mouth.inner_upper - np.array((0, 2)), edge[::-1]]), teeth)
            _tooth_gaps(canvas, edge, mouth.upper_teeth)
        if mouth.lower_teeth > 0.8:
            edge = mouth.inner_lower - np.array((0, mouth.lower_teeth))
            canvas.area(np.vstack([edge, mouth.inner_lower[::-1] + np.array((0, 2))]), tint(teeth, 0.94))
        painted, canvas.paint = canvas.paint, plain
        canvas.blend(painted, mask)
    else:
        canvas.line(mouth.inner_upper, tint(lip, 0.5), 1.2)
    for corner in (mouth.inner_upper[0], mouth.inner_upper[-1]):
        canvas.patch(ellipse((float(corner[0]), float(corner[1])), 2.4, 2.0), 0.35, 1.4)


def _tooth_gaps(canvas: Canvas, edge: Points, height: float) -> None:
    for i in np.linspace(0, len(edge) - 1, 11).astype(int)[1:-1]:
        x, y = edge[i]
        canvas.line(np.array([(x, y - height), (x, y)]), (206, 200, 190), 0.35)
