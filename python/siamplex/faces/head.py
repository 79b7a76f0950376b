"""Hair, shoulders, head and beard."""

from __future__ import annotations

import cv2
import numpy as np

from siamplex.faces.canvas import SCALE, SHIFT, Canvas, ellipse, tint
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import Face, curve

# style -> hairline at the forehead, lower end at the temples, top (y)
_HAIRLINES = {
    "cropped": (-55, -26, -72),
    "short": (-52, -14, -82),
    "parted": (-50, -10, -86),
    "curly": (-50, -16, -84),
    "bun": (-54, -14, -80),
    "long": (-50, 6, -88),
    "bob": (-48, 10, -88),
    "fringe": (-44, 4, -88),
}


def hair_behind(canvas: Canvas, who: Identity, face: Face) -> None:
    w, dark = who.face_width, tint(who.hair, 0.8)
    if who.style in ("long", "fringe"):
        canvas.area(
            curve([(0, -90), (w + 8, -62), (w + 17, 0), (w + 15, 80), (w + 20, 130), (0, 140),
                   (-w - 20, 130), (-w - 15, 80), (-w - 17, 0), (-w - 8, -62)], True, 120), dark)  # fmt: skip
    elif who.style == "bob":
        canvas.area(
            curve([(0, -90), (w + 9, -62), (w + 18, 0), (w + 14, 62), (0.5 * w, 84), (0, 80),
                   (-0.5 * w, 84), (-w - 14, 62), (-w - 18, 0), (-w - 9, -62)], True, 120), dark)  # fmt: skip
    elif who.style == "bun":
        canvas.area(ellipse((0, -96), 25, 20), dark)
        canvas.area(ellipse((0, -34), w + 3, 55), dark)
    elif who.style == "curly":
        count = 20 if who.sex == "F" else 13
        reach = 1.0 if who.sex == "F" else 0.55
        for t in np.linspace(-np.pi * (0.5 + reach / 2), -np.pi * (0.5 - reach / 2), count):
            canvas.disc(((w + 6) * np.cos(t), -22 + (60 if np.sin(t) < 0 else 92) * np.sin(t)), 17, dark)


def body(canvas: Canvas, who: Identity, face: Face) -> None:
    neck = 0.52 if who.sex == "F" else 0.66
    w = who.face_width
    canvas.area(
        curve([(-1.9 * w, 190), (-1.75 * w, 140), (-0.9 * w, 122), (-0.3 * w, 112), (0.3 * w, 112),
               (0.9 * w, 122), (1.75 * w, 140), (1.9 * w, 190)], True, 120), who.clothes)  # fmt: skip
    shadow = tint(who.skin, 0.84)
    throat = np.array(
        [
            (-neck * w, 50),
            (-neck * w, 112),
            (-0.3 * w, 128),
            (0, 137),
            (0.3 * w, 128),
            (neck * w, 112),
            (neck * w, 50),
        ]
    )
    canvas.area(throat, shadow)


def head(canvas: Canvas, who: Identity, face: Face) -> None:
    ears = who.style not in ("long", "bob", "fringe")
    if ears:
        for side in (-1, 1):
            canvas.area(ellipse((side * (who.face_width + 1), 8), 8, 16), tint(who.skin, 0.93, 4))
    canvas.area(face.outline, who.skin)
    if who.beard:
        w, chin = who.face_width, face.chin
        x, y = 1.3 * who.yaw, who.mouth_height
        jaw_line = [(-w, 26), (-0.9 * w, 58), (-0.6 * w, 0.86 * chin), (0, chin + 1)]
        jaw_line += [(0.6 * w, 0.86 * chin), (0.9 * w, 58), (w, 26)]
        cheeks = [(0.74 * w, 46), (0.5 * w, 46), (x, y - 14), (-0.5 * w, 46), (-0.74 * w, 46)]
        beard = curve([*jaw_line, *cheeks], True, 140)
        top = canvas.paint.copy()
        colour = tuple(
            s * (1 - 0.62 * who.beard) + h * 0.62 * who.beard for s, h in zip(who.skin, who.hair, strict=True)
        )
        cv2.fillPoly(top, [canvas.fixed(beard, SCALE)], colour[::-1], cv2.LINE_AA, SHIFT)
        mask = cv2.min(canvas.within(beard), canvas.within(face.outline))
        canvas.blend(top, cv2.GaussianBlur(mask, (0, 0), 3.0 * SCALE / 2))


def hair_in_front(canvas: Canvas, who: Identity, face: Face) -> None:
    w, hair = who.face_width, who.hair
    if who.style == "bald":
        return
    line, side, top = _HAIRLINES[who.style]
    part = 0.35 * w if who.style in ("parted", "long") else 0.0
    inner = [
        (0.9 * w, side),
        (0.80 * w, line + 18),
        (part + 0.1 * w, line - 6),
        (-0.55 * w, line + 4),
        (-0.83 * w, line + 20),
        (-0.9 * w, side),
    ]
    outer = [
        (-w - 3, side),
        (-w - 4, -28),
        (-0.68 * w, top + 10),
        (0, top),
        (0.68 * w, top + 10),
        (w + 4, -28),
        (w + 3, side),
    ]
    canvas.area(np.vstack([curve(inner, count=60), curve(outer, count=60)]), hair)
    if who.style == "fringe":
        canvas.area(
            curve([(-0.84 * w, -56), (0.84 * w, -56), (0.72 * w, -40), (0, -36), (-0.72 * w, -40)], True, 80),
            hair,
        )
    light = tint(hair, 1.25)
    for x in np.linspace(-0.6, 0.6, 7):
        canvas.line(
            curve([(x * w, line - 8), (x * w * 0.8, (line + top) / 2), (x * w * 0.5, top + 5)], count=20),
            light,
            0.5,
        )
    if who.style == "curly":
        reach = 0.92 if who.sex == "F" else 0.6
        for t in np.linspace(-np.pi * (0.5 + reach / 2), -np.pi * (0.5 - reach / 2), 15):
            canvas.disc((0.93 * w * np.cos(t), -14 + 58 * np.sin(t)), 10, hair)
