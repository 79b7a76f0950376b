"""The net's input from the bytes of images: less the mean, times the scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def scaled(pixels: npt.NDArray[np.uint8], mean: Sequence[float], scale: float) -> npt.NDArray[np.float32]:
    """(..., 3, H, W) BGR bytes less ``mean`` (one a channel), times ``scale``: float32.

    The same bits wherever it is computed, one image or many at a time.
    """
    values = pixels.astype(np.float32)
    values -= np.array(mean, np.float32)[:, None, None]
    values *= np.float32(scale)
    return values
