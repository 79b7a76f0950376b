"""The directories of a TIFF: how many pages, how large, and whether its pixels are in the file."""

from __future__ import annotations

import struct

_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _STRIPS, _SAMPLES, _STRIP_BYTES = 254, 256, 257, 258, 273, 277, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_WANTED = frozenset(
    {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _STRIPS, _SAMPLES, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES}
    | {_SAMPLE_FORMAT}
)
_MOST_PAGES = 1000
_PADDING = 4096  # pixels a tile may be larger than the picture, each way

Directory = dict[int, tuple[int, ...]]


class TiffError(ValueError):
    """A TIFF that is not one whole page of unsigned bytes or shorts."""


def tiff_size(data: bytes) -> tuple[int, int]:
    """Width and height of the one page of a TIFF or BigTIFF; reduced copies beside it are passed over.

    Raises TiffError for several pages, a first page that is a thumbnail (raw files of cameras), values that are
    not 1, 2, 4, 8 or 16 unsigned bits, a file cut short.
    """
    order = "<" if data[:1] == b"I" else ">"
    try:
        pages = _directories(data, order, data[2:4] in (b"+\0", b"\0+"))
    except struct.error:
        raise TiffError("a TIFF that breaks off") from None
    if not pages:
        raise TiffError("a TIFF without a picture")
    first = pages[0]
    if _one(first, _SUBFILE, 0) & 1:
        raise TiffError("a TIFF whose first picture is a reduced one (a camera's raw file?)")
    if sum(not _one(page, _SUBFILE, 0) & 5 for page in pages) > 1:  # 1 a reduced copy, 4 a mask
        raise TiffError(f"a TIFF of {len(pages)} pages")
    width, height = _one(first, _WIDTH, 0), _one(first, _HEIGHT, 0)
    if any(kind != 1 for kind in first.get(_SAMPLE_FORMAT, ())) or not {1, 2, 4, 8, 16} >= set(first.get(_BITS, (1,))):
        raise TiffError("a TIFF of other than up to 16 unsigned bits a channel: save it with 8 or 16")
    if _one(first, _SAMPLES, 1) > 16:
        raise TiffError(f"a TIFF of {_one(first, _SAMPLES, 1)} channels")
    tile = _one(first, _TILE_WIDTH, 0), _one(first, _TILE_HEIGHT, 0)
    if tile[0] > width + _PADDING or tile[1] > height + _PADDING:
        raise TiffError(f"a TIFF with tiles of {tile[0]}x{tile[1]} pixels")
    starts, sizes = (first.get(tag, first.get(other, ())) for tag, other in (
        (_STRIPS, _TILES), (_STRIP_BYTES, _TILE_BYTES),
    ))  # fmt: skip
    if not starts or any(s + n > len(data) for s, n in zip(starts, sizes or (0,) * len(starts), strict=False)):
        raise TiffError("a TIFF that breaks off")
    return width, height


def _one(page: Directory, tag: int, default: int) -> int:
    values = page.get(tag)
    return values[0] if values else default


def _directories(data: bytes, order: str, big: bool) -> list[Directory]:
    at = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    pages: list[Directory] = []
    seen: set[int] = set()
    while at:
        if at in seen or len(pages) >= _MOST_PAGES:
            raise TiffError("a TIFF whose pages go in a circle")
        seen.add(at)
        page, at = _directory(data, order, big, at)
        pages.append(page)
    return pages


def _directory(data: bytes, order: str, big: bool, at: int) -> tuple[Directory, int]:
    """The fields that matter of the directory at ``at``, and where the next one is (0: nowhere)."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    at += 8 if big else 2
    width = 20 if big else 12
    if at + count * width > len(data):
        raise TiffError("a TIFF that breaks off")
    page: Directory = {}
    for number in range(count):
        entry = at + number * width
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, entry)
        if tag not in _WANTED or kind not in _CODES:
            continue
        size, room = values * _WIDTHS[kind], 8 if big else 4
        place = entry + width - room
        if size > room:
            place = struct.unpack_from(order + ("Q" if big else "I"), data, place)[0]
        if place + size > len(data):
            raise TiffError("a TIFF that breaks off")
        page[tag] = struct.unpack_from(f"{order}{values}{_CODES[kind]}", data, place)
    follows = struct.unpack_from(order + ("Q" if big else "I"), data, at + count * width)[0]
    return page, follows
