"""The light on the head: from one direction, on a relief of the face, and round its edge."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.faces.canvas import HEIGHT, WIDTH, Canvas, ellipse
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import Face
from siamplex.faces.moment import Moment

Relief = npt.NDArray[np.float32]  # (308, 240), pixels


def light(canvas: Canvas, who: Identity, face: Face, moment: Moment) -> None:
    """Darken the canvas by how little light falls on each pixel of the face, and on what is round it."""
    inside = cv2.resize(canvas.within(face.outline), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) / 255.0
    inside = inside.astype(np.float32)
    rounded = cv2.GaussianBlur(inside, (0, 0), 13)
    canvas.shade += 0.42 * (1 - rounded) * inside
    azimuth = np.deg2rad(who.light_azimuth + moment.light_azimuth)
    height = np.deg2rad(moment.light_height)
    across, down, front = np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)
    relief = _relief(canvas, who, face, rounded)
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=1 / 8)
    facing = (front - across * slope_x - down * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    share = moment.light_strength
    lit = (1 - share) + share * np.maximum(facing, 0) / 0.8
    canvas.shade -= np.log(np.maximum(lit, 0.05)) * inside
    side = (np.arange(WIDTH, dtype=np.float32) - WIDTH / 2) / (WIDTH / 2)
    canvas.shade -= (0.30 * share * across * side)[None, :] * (1 - inside)
    for eye in face.eyes:
        canvas.patch(np.vstack([eye.fold, eye.upper[::-1]]), 0.16, 2.2)


def _relief(canvas: Canvas, who: Identity, face: Face, rounded: Relief) -> Relief:
    """Height of the face in front of its edge: the dome of the head, nose, brows, sockets, cheeks, lips."""
    relief = (62.0 * np.sqrt(np.maximum(rounded - 0.35, 0.0))).astype(np.float32)
    tip, side = face.nose_tip, face.nose_side
    parts = [
        (np.array([(-3, -8), (3, -8), (0.75 * side, tip), (-0.75 * side, tip)], float), 13.0, 3.5),
        (ellipse((0, face.mouth_middle), 20, 11), 4.0, 5.0),
    ]
    for s in (-1, 1):
        parts.append((ellipse((s * who.eye_spacing, -0.5), who.eye_width + 4, 11), -6.0, 5.0))
        parts.append((ellipse((s * 0.55 * who.face_width, 26), 15, 11), 5.0, 7.0))
    for points, high, soft in parts:
        canvas.raise_area(relief, points, high, soft)
    return relief
