"""The camera: white balance, exposure, contrast, blur and grain."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.faces.moment import Moment

_MIDDLE = 128.0  # contrast leaves this grey level as it is


def photograph(scene: npt.NDArray[np.float32], moment: Moment) -> npt.NDArray[np.uint8]:
    """A scene (H, W, 3) float32 BGR, 0..255, as the camera of ``moment`` records it: uint8."""
    half = np.exp(moment.warmth / 2)
    gains = moment.exposure * np.array((1 / half, 1.0, half), np.float32)
    image = cv2.GaussianBlur(scene * gains, (0, 0), moment.blur)
    image = _MIDDLE + moment.contrast * (image - _MIDDLE)
    grain = np.random.default_rng(moment.grain).standard_normal(scene.shape, np.float32)
    return np.asarray(np.clip(image + moment.noise * grain, 0, 255), np.uint8)
