"""Reading face images as the net wants them: (3, H, W) BGR bytes of one size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.schema.file_kinds import PICTURE, TEXT, kind_of
from siamplex.schema.picture_files import PictureError, decode

# suffixes of pictures; whether a picture can be read is decided by its content
SUFFIXES = frozenset(
    ".bmp .dib .png .apng .jpg .jpeg .jpe .jfif .jif .tif .tiff .webp .gif .jp2 .j2k .jpf .jpx .avif "
    ".pbm .pgm .ppm .pnm .pam .ras .sr".split()
)
RESIZE_MODES = ("stretch", "crop", "pad")
MAX_BYTES = 256 << 20

Picture = npt.NDArray[np.uint8]  # (H, W, 3) BGR


def read_picture(path: str | Path, mode: str = "color") -> Picture:
    """Decode an image file to (H, W, 3) BGR uint8, or with ``mode`` "gray" to (H, W).  Raises InputError."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise InputError(path, f"an image of 1 to {MAX_BYTES} bytes", f"{size} bytes")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(path, "a readable image", getattr(error, "strerror", None) or str(error)) from None
    try:
        return np.asarray(decode(data, mode), np.uint8)
    except PictureError as error:
        kind = kind_of(path)
        told = kind is not None and kind.name not in (PICTURE, TEXT)
        raise InputError(path, "a still image", kind.words if kind and told else str(error)) from None


def fit(picture: Picture, size: int, mode: str = "stretch") -> Picture:
    """Bring a picture to (size, size, 3).

    ``stretch`` changes its proportions, as Caffe's own converter does; ``crop`` keeps the middle
    square; ``pad`` adds borders of the mean border colour.
    """
    height, width = picture.shape[:2]
    if mode == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        picture = picture[top : top + side, left : left + side]
    elif mode == "pad":
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        padded = np.empty((side, side, 3), np.uint8)
        padded[:] = np.round(edge.mean(axis=0))
        padded[top : top + height, left : left + width] = picture
        picture = padded
    shrinks = min(picture.shape[:2]) > size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)
