"""Decoding BMP, PNG and JPEG bytes without trusting them: the header is looked at before the pixels."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

MAX_PIXELS = 1 << 26  # 64 million, far above any photograph of a face
_PNG = b"\x89PNG\r\n\x1a\n"
_NO_SIZE = frozenset((0x01, *range(0xD0, 0xD8)))  # JPEG markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of the frame, with its size


class PictureError(ValueError):
    """Bytes that are no whole still picture."""


def decode(data: bytes, color: bool = True) -> npt.NDArray[Any]:
    """Pixels (H, W, 3) BGR uint8 of an encoded picture; without ``color`` as it is stored.

    More than 8 bits a channel are reduced to 8, CMYK and grey become BGR, transparency is dropped, a
    JPEG is turned as its EXIF says.  Raises PictureError for another format, an animation, a file cut
    short, or more than MAX_PIXELS.
    """
    if data.startswith(_PNG):
        size = _png(data)
    elif data.startswith(b"\xff\xd8"):
        size = _jpeg(data)
    elif data.startswith(b"BM"):
        size = _bmp(data)
    else:
        raise PictureError("another format than BMP, PNG or JPEG" if data else "nothing")
    if not 0 < size[0] * size[1] <= MAX_PIXELS:
        raise PictureError(f"{size[0]}x{size[1]} pixels")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR if color else cv2.IMREAD_UNCHANGED)
    except cv2.error:
        picture = None
    if picture is None:
        raise PictureError("something that does not decode")
    return np.asarray(picture)


def _png(data: bytes) -> tuple[int, int]:
    at, size = len(_PNG), (0, 0)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        if kind == b"IHDR" and length >= 8:
            size = struct.unpack_from(">II", data, at + 8)
        if kind == b"acTL":
            raise PictureError("an animation")
        if kind == b"IEND":
            return size
        at += 12 + length
    raise PictureError("a PNG that breaks off")


def _jpeg(data: bytes) -> tuple[int, int]:
    at, size = 2, (0, 0)
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise PictureError("a JPEG that is damaged")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _NO_SIZE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _FRAMES and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        if marker == 0xDA:  # the pixels follow, to the end mark
            if data.find(b"\xff\xd9", at) < 0:
                break
            return size
        at += 2 + max(length, 2)
    raise PictureError("a JPEG that breaks off")


def _bmp(data: bytes) -> tuple[int, int]:
    if len(data) < 30:
        raise PictureError("a BMP that breaks off")
    offset, header = struct.unpack_from("<I", data, 10)[0], struct.unpack_from("<I", data, 14)[0]
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packed = 0
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
        packed = struct.unpack_from("<I", data, 30)[0] if len(data) >= 34 else 0
    height = abs(height)
    if width > 0 and packed in (0, 3) and offset + (width * bits + 31) // 32 * 4 * height > len(data):
        raise PictureError("a BMP that breaks off")
    return max(width, 0), height
