"""Turning the head: flat landmarks laid over a rounded head, rotated and seen from the front."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from siamplex.faces.identity import Identity
from siamplex.faces.moment import Moment

Points = npt.NDArray[np.float64]  # (n, 2)

_AXIS = 22.0  # the head turns about a point this far below the eyes
_NECK = 108.0  # and leans about one this far below
_NOSE = 13.0  # how far the tip of the nose stands out
_FRAME = 1.25  # heads fill the picture, as in photographs cut to the face


class Pose:
    """Where points of an upright, frontal face (pixels from between the eyes) come to lie in the image."""

    def __init__(self, who: Identity, moment: Moment, centre: tuple[float, float]) -> None:
        self._yaw = np.deg2rad(who.yaw + moment.yaw)
        self._pitch = np.deg2rad(who.pitch + moment.pitch)
        self._roll = np.deg2rad(who.roll + moment.roll)
        self._size = _FRAME * who.size * moment.size
        self._centre = np.array(centre) + np.array(moment.shift)
        self._width, self._height = 1.12 * who.face_width, 112.0
        self._tip = who.nose_length

    def depth(self, points: Points) -> npt.NDArray[np.float64]:
        """How far in front of the ears points (n, 2) lie: pixels, (n,)."""
        x, y = points[:, 0] / self._width, (points[:, 1] - 8) / self._height
        dome = 0.78 * self._width * np.sqrt(np.maximum(0.0, 1 - x * x - y * y))
        nose = _NOSE * np.exp(-((points[:, 0] / 11) ** 2) - ((points[:, 1] - self._tip + 4) / 17) ** 2)
        return np.asarray(dome + nose, np.float64)

    def head(self, points: Points) -> Points:
        """Points (n, 2) of the head, in pixels of the image."""
        p = np.asarray(points, np.float64)
        z = self.depth(p)
        x = p[:, 0] * np.cos(self._yaw) + z * np.sin(self._yaw)
        z = z * np.cos(self._yaw) - p[:, 0] * np.sin(self._yaw)
        y = _AXIS + (p[:, 1] - _AXIS) * np.cos(self._pitch) + z * np.sin(self._pitch)
        return self._place(np.c_[x, y], self._roll)

    def body(self, points: Points) -> Points:
        """Points (n, 2) of neck and shoulders, which follow the head's lean by a quarter."""
        return self._place(np.asarray(points, np.float64), 0.25 * self._roll)

    def _place(self, points: Points, roll: float) -> Points:
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        neck = np.array((0.0, _NECK))
        return np.asarray(((points - neck) @ turn.T + neck) * self._size + self._centre, np.float64)
