"""Headers of encoded pictures: format, size, and whether the picture is still and complete, before decoding."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from siamplex.schema.avif_header import avif_size
from siamplex.schema.boxes import boxes
from siamplex.schema.tiff_header import tiff_size

Size = tuple[int, int]  # width, height

_PNG = b"\x89PNG\r\n\x1a\n"
_NO_SIZE = frozenset((0x01, *range(0xD0, 0xD8)))  # JPEG markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of the frame, with its size
_PNM = re.compile(rb"P[1-7]\s")
_TOKEN = re.compile(rb"(?:\s|#[^\n]*\n)*([0-9]{1,10})(?=\s)")

# formats that are not read, by their first bytes, so that the error can name them
_NOT_READ = (
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"v/1\x01", "EXR"),
    (b"#?RADIANCE", "HDR"),
    (b"#?RGBE", "HDR"),
    (b"PF\n", "PFM"),
    (b"Pf\n", "PFM"),
    (b"DDS ", "DDS"),
    (b"\x01\xda", "SGI"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"II\xbc\x01", "JPEG XR"),
)


class HeaderError(ValueError):
    """A header that is not that of a whole still picture."""


def format_of(data: bytes) -> str:
    """Name of the format that the first bytes (32 are enough) are of; empty for none that is known."""
    for name, is_it, _ in _READ:
        if is_it(data):
            return name
    for magic, name in _NOT_READ:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp" and data[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return "HEIC"
    return ""


def is_read(name: str) -> bool:
    """Whether pictures of a format are decoded."""
    return any(name == known for known, _, _ in _READ)


def size_of(data: bytes) -> Size:
    """Width and height a picture claims.

    Raises HeaderError for a format that is not read, an animation, several pages, or a file cut short.
    """
    for name, is_it, size in _READ:
        if is_it(data):
            try:
                return size(data)
            except (struct.error, IndexError):
                raise HeaderError(f"a {name} that breaks off") from None
            except HeaderError:
                raise
            except ValueError as error:  # of the TIFF and AVIF readers
                raise HeaderError(str(error)) from None
    other = format_of(data)
    if other in ("HDR", "PFM", "EXR"):
        raise HeaderError(f"{other}, pixels in floating point: save it with 8 or 16 bits a channel")
    raise HeaderError(f"the format {other}" if other else "another format" if data else "nothing")


def _png(data: bytes) -> Size:
    at, size = len(_PNG), (0, 0)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        if kind == b"IHDR" and length >= 8:
            size = struct.unpack_from(">II", data, at + 8)
        if kind == b"acTL":
            raise HeaderError("an animation")
        if kind == b"IEND":
            return size
        at += 12 + length
    raise HeaderError("a PNG that breaks off")


def _jpeg(data: bytes) -> Size:
    at, size = 2, (0, 0)
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise HeaderError("a JPEG that is damaged")
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
    raise HeaderError("a JPEG that breaks off")


def _bmp(data: bytes) -> Size:
    if len(data) < 30:
        raise HeaderError("a BMP that breaks off")
    offset, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packed = 0
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
        packed = struct.unpack_from("<I", data, 30)[0] if len(data) >= 34 else 0
    height = abs(height)
    if width > 0 and packed in (0, 3) and offset + (width * bits + 31) // 32 * 4 * height > len(data):
        raise HeaderError("a BMP that breaks off")
    return max(width, 0), height


def _gif(data: bytes) -> Size:
    """The screen or the one frame, whichever is larger each way."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames = 0
    while True:
        kind = data[at]
        if kind == 0x3B:  # the end mark
            if not frames:
                raise HeaderError("a GIF without a picture")
            return width, height
        if kind == 0x2C:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height = max(width, left + wide), max(height, top + high)
            frames += 1
            if frames > 1:
                raise HeaderError("an animation")
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif kind == 0x21:
            at += 2
        else:
            raise HeaderError("a GIF that is damaged")
        while data[at]:  # blocks of up to 255 bytes, the last of none
            at += 1 + data[at]
        at += 1


def _webp(data: bytes) -> Size:
    (length,) = struct.unpack_from("<I", data, 4)
    if 8 + length > len(data):
        raise HeaderError("a WebP that breaks off")
    at, size, pixels = 12, (0, 0), False
    while at + 8 <= 8 + length:
        kind, count = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if body + count > len(data):
            raise HeaderError("a WebP that breaks off")
        if kind in (b"ANIM", b"ANMF") or (kind == b"VP8X" and data[body] & 2):
            raise HeaderError("an animation")
        here = (0, 0)
        if kind == b"VP8X":
            here = _three(data, body + 4) + 1, _three(data, body + 7) + 1
        elif kind == b"VP8 ":
            wide, high = struct.unpack_from("<HH", data, body + 6)
            here, pixels = (wide & 0x3FFF, high & 0x3FFF), True
        elif kind == b"VP8L":
            (packed,) = struct.unpack_from("<I", data, body + 1)
            here, pixels = ((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1), True
        size = max(size[0], here[0]), max(size[1], here[1])
        at = body + count + (count & 1)
    if not pixels:
        raise HeaderError("a WebP without a picture")
    return size


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _jpeg2000(data: bytes) -> Size:
    at = 0
    if not data.startswith(b"\xff\x4f"):
        for kind, start, _ in boxes(data, 0, len(data)):
            if kind == b"jp2c":
                at = start
                break
        else:
            raise HeaderError("a JPEG 2000 that breaks off")
    if data[at : at + 4] != b"\xff\x4f\xff\x51":
        raise HeaderError("a JPEG 2000 that is damaged")
    right, bottom, left, top, wide, high, from_x, from_y, parts = struct.unpack_from(">IIIIIIIIH", data, at + 8)
    if wide and high and -(-(right - from_x) // wide) * -(-(bottom - from_y) // high) > 1 << 16:
        raise HeaderError("a JPEG 2000 of too many tiles")
    for part in range(min(parts, 16)):
        depth = data[at + 42 + 3 * part]
        if depth & 0x80 or not 7 <= depth <= 15:
            raise HeaderError("a JPEG 2000 of other than 8 to 16 unsigned bits a channel")
    if data.rfind(b"\xff\xd9") < at:
        raise HeaderError("a JPEG 2000 that breaks off")
    return max(right - left, 0), max(bottom - top, 0)


def _pnm(data: bytes) -> Size:
    """Portable bitmap, graymap, pixmap or PAM."""
    if data[1:2] == b"7":
        header, found, _ = data[:4096].partition(b"ENDHDR\n")
        fields = dict(line.split(None, 1) for line in header.splitlines()[1:] if len(line.split(None, 1)) == 2)
        try:
            width, height, depth, most = (int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
        except (KeyError, ValueError):
            raise HeaderError("a PAM that is damaged") from None
        start, bits = len(header) + len(found), 8 * depth * (1 + (most > 255))
    else:
        numbers, start = [], 2
        for _ in range(2 if data[1:2] in b"14" else 3):
            match = _TOKEN.match(data, start)
            if match is None:
                raise HeaderError("a PNM that is damaged")
            numbers.append(int(match.group(1)))
            start = match.end()
        width, height, most = (*numbers, 255)[:3]
        start += 1
        bits = {b"4": 1, b"5": 8, b"6": 24}.get(data[1:2], 0) * (1 + (most > 255))
    if most not in (255, 65535):  # OpenCV would not stretch them
        raise HeaderError(f"a PNM of values up to {most}: save it with 255 or 65535")
    rows = (width * bits + 7) // 8 * height if bits else 2 * width * height - 1
    if not width * height > 0 or start + rows > len(data):
        raise HeaderError("a PNM that breaks off")
    return width, height


def _sun(data: bytes) -> Size:
    width, height, depth, _, kind = struct.unpack_from(">IIIII", data, 4)
    if kind != 2 and 32 + (width * depth + 15) // 16 * 2 * height > len(data):
        raise HeaderError("a Sun raster that breaks off")
    return width, height


def _is_avif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and (data[8:11] == b"avi" or (data[8:12] == b"mif1" and b"avif" in data[16:64]))


_READ: tuple[tuple[str, Callable[[bytes], bool], Callable[[bytes], Size]], ...] = (
    ("PNG", lambda d: d.startswith(_PNG), _png),
    ("JPEG", lambda d: d.startswith(b"\xff\xd8"), _jpeg),
    ("BMP", lambda d: d.startswith(b"BM"), _bmp),
    ("TIFF", lambda d: d[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff_size),
    ("WebP", lambda d: d.startswith(b"RIFF") and d[8:12] == b"WEBP", _webp),
    ("GIF", lambda d: d[:6] in (b"GIF87a", b"GIF89a"), _gif),
    ("JPEG 2000", lambda d: d[4:12] == b"jP  \r\n\x87\n" or d.startswith(b"\xff\x4f\xff\x51"), _jpeg2000),
    ("AVIF", _is_avif, avif_size),
    ("PNM", lambda d: _PNM.match(d) is not None, _pnm),
    ("Sun raster", lambda d: d.startswith(b"\x59\xa6\x6a\x95"), _sun),
)
