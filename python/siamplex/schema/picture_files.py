"""Decodes pictures after checking the header, by content and not by the file's name."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.schema.picture_headers import HeaderError, format_of, size_of

MAX_PIXELS = 1 << 26  # 64 million, far above any photograph of a face
FLAGS = {
    "color": cv2.IMREAD_COLOR,
    "gray": cv2.IMREAD_GRAYSCALE,
    "native": cv2.IMREAD_UNCHANGED,
}

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said in a line of our own


class PictureError(ValueError):
    """Bytes that are no whole still picture."""


def decode(data: bytes, mode: str = "color") -> npt.NDArray[Any]:
    """Pixels of an encoded picture, by its content: BMP, PNG, JPEG, TIFF, WebP, GIF, JPEG 2000, AVIF, PNM, Sun raster.

    ``color``: (H, W, 3) BGR uint8.  More than 8 bits a channel are reduced to 8, CMYK and grey become BGR,
    transparency is dropped, a picture is turned as its EXIF says.  ``gray``: (H, W) uint8, the same otherwise.
    ``native``: as it is stored (OpenCV's IMREAD_UNCHANGED), (H, W) or (H, W, C), never turned by EXIF.
    Raises PictureError for another format, an animation, several pages, a file cut short, or more than MAX_PIXELS.
    """
    try:
        width, height = size_of(data)
    except HeaderError as error:
        raise PictureError(str(error)) from None
    if not 0 < width * height <= MAX_PIXELS:
        raise PictureError(f"{width}x{height} pixels")
    picture = _pixels(data, mode)
    if picture is None:
        raise PictureError("something that does not decode")
    if mode != "native":
        if format_of(data) == "TIFF" and _is_transparent(data):
            # its colours come multiplied with its alpha, others' do not
            raise PictureError("a TIFF with transparent parts: save it without")
        if picture.dtype != np.uint8 or picture.shape[2:] != ((3,) if mode == "color" else ()):
            raise PictureError(f"pixels of shape {picture.shape} and {picture.dtype}")
    return picture


def _pixels(data: bytes, mode: str) -> npt.NDArray[Any] | None:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[mode])
    except cv2.error:
        return None
    return None if picture is None else np.asarray(picture)


def _is_transparent(data: bytes) -> bool:
    stored = _pixels(data, "native")
    if stored is None or stored.ndim != 3 or stored.shape[2] != 4:
        return False
    return bool(stored.dtype == np.uint8 and (stored[:, :, 3] != 255).any())
