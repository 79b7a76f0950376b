"""Creases that action units fold into the skin."""

from __future__ import annotations

import numpy as np

from siamplex.faces.canvas import Canvas, ellipse
from siamplex.faces.expression import Expression
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import Face, curve


def creases(canvas: Canvas, who: Identity, face: Face, shown: Expression) -> None:
    """Lines that action units fold into the skin."""

    units = shown.units

    def u(unit: int) -> float:
        return units.get(unit, 0.0)

    corner = face.mouth.inner_upper[0], face.mouth.inner_upper[-1]
    for s, (cx, cy) in zip((-1, 1), corner, strict=True):
        units = shown.side(s)
        wing = (s * (face.nose_side + 2), face.nose_tip - 4 - face.nose_wing_lift)
        fold = 0.14 + 0.75 * u(12) + 0.7 * u(10) + 0.6 * u(9) + 0.15 * u(20)
        reach = max(9.0, abs(cx - wing[0]) * 0.55)
        line = curve([wing, (wing[0] + s * reach, (wing[1] + cy) / 2 - 2), (cx + s * 7, cy + 2)], count=30)
        canvas.crease(line, min(1.0, fold), 1.6, 1.5)
        if u(6):
            cheek = (s * 0.60 * who.face_width, 27)
            canvas.patch(ellipse(cheek, 15, 10), -0.16 * u(6), 5)
            below = curve(
                [
                    (s * (who.eye_spacing - 15), 11),
                    (s * who.eye_spacing, 13.5),
                    (s * (who.eye_spacing + 17), 9),
                ],
                count=24,
            )
            canvas.crease(below, 0.5 * u(6), 1.2, 1.2)
            for dy in (-5, 0, 5):
                start = s * (who.eye_spacing + who.eye_width + 5)
                canvas.crease(np.array([(start, 0.4 * dy + 1), (start + s * 8, 1.4 * dy + 1)]), 0.5 * u(6), 1, 0.9)
        if u(4):
            canvas.crease(
                curve([(s * 4.5, -11), (s * 3.6, -19), (s * 5, -27)], count=12),
                0.75 * u(4),
                1.2,
                1.0,
            )
        if u(9):
            for dy in (0, 5, 10):
                canvas.crease(np.array([(s * 2, -3 + dy), (s * 8.5, -7 + dy)]), 0.75 * u(9), 1.1, 0.9)
            canvas.crease(curve([(s * 9, 2), (s * 11, 12), (s * 12, 20)], count=12), 0.5 * u(9), 1.3, 1.3)
        if u(15):
            canvas.crease(
                curve([(cx, cy), (cx + s * 3, cy + 7), (cx + s * 2, cy + 13)], count=12),
                0.7 * u(15),
                1.3,
                1.2,
            )
        if u(20):
            canvas.crease(
                curve([(cx + s * 5, cy - 8), (cx + s * 8, cy), (cx + s * 6, cy + 9)], count=12),
                0.5 * u(20),
                1.3,
                1.2,
            )
        if u(7):
            canvas.crease(
                curve(
                    [
                        (s * (who.eye_spacing - 12), 9),
                        (s * who.eye_spacing, 11),
                        (s * (who.eye_spacing + 12), 8),
                    ],
                    count=16,
                ),
                0.35 * u(7),
                1,
                1.0,
            )
    units = shown.units
    raised = min(u(1), u(2))
    for row in range(3):
        y = -who.brow_height - 17 - 7 * row
        span = 0.48 * who.face_width
        canvas.crease(
            curve(
                [
                    (-span, y + 2),
                    (-span / 2, y - 1.5),
                    (0.0, y),
                    (span / 2, y - 1.5),
                    (span, y + 2),
                ],
                count=30,
            ),
            0.42 * raised,
            1.1,
            0.9,
        )
    inner_only = max(0.0, u(1) - u(2)) * min(1.0, 2 * u(4))
    for row in range(2):
        y = -who.brow_height - 14 - 6 * row
        canvas.crease(
            curve([(-17, y - 3), (-6, y + 2), (6, y + 2), (17, y - 3)], count=20),
            0.55 * inner_only,
            1.1,
            0.9,
        )
    if u(17):
        y = float(face.mouth.outer_lower[:, 1].max()) + 7
        canvas.crease(curve([(-12, y + 3), (0.0, y - 1.5), (12, y + 3)], count=20), 0.8 * u(17), 1.6, 1.4)
        for i, dx in enumerate((-7, -2, 4, 8)):
            canvas.patch(ellipse((dx, y + 9 + 3 * (i % 2)), 1.4, 1.2), 0.5 * u(17), 1.0)
    low = float(face.mouth.outer_lower[:, 1].max())
    canvas.patch(ellipse((0.0, low + 4), 11, 2.4), 0.22, 2.4)
