"""Hair, shoulders, head and beard."""

from __future__ import annotations

import cv2
import numpy as np

from siamplex.faces.canvas import SCALE, SHIFT, Canvas, ellipse, tint
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import Face, curve
from siamplex.faces.strands import Strands

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


def hair_behind(canvas: Canvas, who: Identity, strands: Strands) -> None:
    w, dark = who.face_width, tint(who.hair, 0.8)
    if who.style in ("long", "fringe"):
        canvas.area(
            curve([(0, -90), (w + 8, -62), (w + 17, 0), (w + 15, 80), (w + 20, 130), (0, 140),
                   (-w - 20, 130), (-w - 15, 80), (-w - 17, 0), (-w - 8, -62)], True, 120), dark)  # fmt: skip
        _falling(strands, w, 120, 16)
    elif who.style == "bob":
        canvas.area(
            curve([(0, -90), (w + 9, -62), (w + 18, 0), (w + 14, 62), (0.5 * w, 84), (0, 80),
                   (-0.5 * w, 84), (-w - 14, 62), (-w - 18, 0), (-w - 9, -62)], True, 120), dark)  # fmt: skip
        _falling(strands, w, 60, 13)
    elif who.style == "bun":
        canvas.area(ellipse((0, -96), 25, 20), dark)
        canvas.area(ellipse((0, -34), w + 3, 55), dark)
        bun = ellipse((0, -96), 21, 16)
        strands.sweep(bun[:24], bun[24:][::-1], 26, 3.0, 0.85)
    elif who.style == "curly":
        count = 20 if who.sex == "F" else 13
        reach = 1.0 if who.sex == "F" else 0.55
        for t in np.linspace(-np.pi * (0.5 + reach / 2), -np.pi * (0.5 - reach / 2), count):
            at = ((w + 6) * np.cos(t), -22 + (60 if np.sin(t) < 0 else 92) * np.sin(t))
            canvas.disc(at, 17, dark)
            strands.curls(at, 13, 0.85)


def _falling(strands: Strands, width: float, low: float, out: float) -> None:
    """Strands that hang down both sides of the head to ``low``, up to ``out`` beyond its width."""
    for side in (-1, 1):
        roots = np.array([(side * 0.75 * width, -62.0), (side * (width + out - 8), -40.0)])
        tips = np.array([(side * 0.78 * width, low), (side * (width + out), low)])
        strands.sweep(roots, tips, 34, 3.5, 0.8)


def body(canvas: Canvas, who: Identity, face: Face) -> None:
    neck = 0.52 if who.sex == "F" else 0.66
    w = who.face_width
    shoulders = curve(
        [(-1.9 * w, 215), (-1.75 * w, 140), (-0.9 * w, 122), (-0.3 * w, 112), (0.3 * w, 112),
               (0.9 * w, 122), (1.75 * w, 140), (1.9 * w, 215)], True, 120)  # fmt: skip
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
    with canvas.of_body():
        canvas.area(shoulders, who.clothes)
        canvas.area(throat, shadow)


def head(canvas: Canvas, who: Identity, face: Face) -> None:
    ears = who.style not in ("long", "bob", "fringe")
    if ears:
        for side in (-1, 1):
            canvas.area(ellipse((side * (who.face_width + 1), 8), 8, 16), tint(who.skin, 0.93, 4))
    canvas.area(face.outline, who.skin)
    if who.beard:
        w, chin = who.face_width, face.chin
        jaw_line = [(-w, 26), (-0.9 * w, 58), (-0.6 * w, 0.86 * chin), (0, chin + 1)]
        jaw_line += [(0.6 * w, 0.86 * chin), (0.9 * w, 58), (w, 26)]
        cheeks = [(0.74 * w, 46), (0.5 * w, 46), (0, who.mouth_height - 14), (-0.5 * w, 46), (-0.74 * w, 46)]
        beard = curve([*jaw_line, *cheeks], True, 140)
        top = canvas.paint.copy()
        colour = tuple(
            s * (1 - 0.62 * who.beard) + h * 0.62 * who.beard for s, h in zip(who.skin, who.hair, strict=True)
        )
        cv2.fillPoly(top, [canvas.fixed(beard, SCALE)], colour[::-1], cv2.LINE_AA, SHIFT)
        mask = cv2.min(canvas.within(beard), canvas.within(face.outline))
        canvas.blend(top, cv2.GaussianBlur(mask, (0, 0), 3.0 * SCALE / 2))


def hair_in_front(canvas: Canvas, who: Identity, strands: Strands) -> None:
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
        brow = np.array([(-0.72 * w, -42.0), (0.0, -38.0), (0.72 * w, -42.0)])
        strands.sweep(np.array([(-0.6 * w, top + 12.0), (0.6 * w, top + 12.0)]), brow, 60, 3.0)
    else:
        hairline = np.array([(-0.9 * w, side), (-0.83 * w, line + 18), (-0.5 * w, line + 2), (part, line - 6),
                             (0.5 * w, line + 2), (0.83 * w, line + 18), (0.9 * w, side)], float)  # fmt: skip
        crown = curve([(-w, side), (-w - 1, -28), (-0.62 * w, top + 12), (0, top + 3),
                       (0.62 * w, top + 12), (w + 1, -28), (w, side)], count=40)  # fmt: skip
        strands.sweep(crown, hairline, 80, 2.2)
    if who.style == "curly":
        reach = 0.92 if who.sex == "F" else 0.6
        for t in np.linspace(-np.pi * (0.5 + reach / 2), -np.pi * (0.5 - reach / 2), 15):
            at = (0.93 * w * np.cos(t), -14 + 58 * np.sin(t))
            canvas.disc(at, 10, hair)
            strands.curls(at, 9)
