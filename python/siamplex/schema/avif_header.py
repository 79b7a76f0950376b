"""Sizes of an AVIF: those stated in its boxes, and those of the AV1 streams, which decoders use.

ISO 23008-12 (boxes iinf, iloc, iprp) and the AV1 specification, section 5.5 (sequence header).
"""

from __future__ import annotations

import struct

from siamplex.schema.boxes import boxes, first

Size = tuple[int, int]

_MOST_ITEMS = 1000
_SEQUENCE_HEADER = 1  # kind of OBU


class AvifError(ValueError):
    """An AVIF that is not one whole still picture whose sizes can be told."""


def avif_size(data: bytes) -> Size:
    """The largest width and height of any part of the picture.

    Raises AvifError for an animation, a picture to be turned or mirrored for display (OpenCV does neither), a stream
    whose size cannot be told, and BoxError or struct.error for a file cut short.
    """
    outer = boxes(data, 0, len(data))
    if data[8:12] == b"avis" or first(outer, b"moov"):
        raise AvifError("an animation")
    place = first(outer, b"meta")
    if place is None:
        raise AvifError("an AVIF that breaks off")
    meta = boxes(data, place[0] + 4, place[1])
    sizes = _stated(data, meta)
    streams = _streams(data, meta)
    if not streams:
        raise AvifError("an AVIF without a picture")
    sizes += [_coded(stream) for stream in streams]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _stated(data: bytes, meta: list[tuple[bytes, int, int]]) -> list[Size]:
    """Sizes in the properties of items."""
    sizes = []
    properties = first(meta, b"iprp")
    shared = first(boxes(data, *properties), b"ipco") if properties else None
    for kind, at, end in boxes(data, *shared) if shared else []:
        if kind == b"ispe":
            width, height = struct.unpack_from(">II", data, at + 4)
            sizes.append((width, height))
        if kind == b"imir" or (kind == b"irot" and at < end and data[at] & 3):
            raise AvifError("an AVIF that is to be turned for display: save it upright")
    return sizes


def _streams(data: bytes, meta: list[tuple[bytes, int, int]]) -> list[bytes]:
    """The bytes of each item that is an AV1 stream."""
    kinds = _kinds(data, meta)
    place = first(meta, b"iloc")
    if place is None:
        return []
    at = place[0]
    version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    wide = 4 if version == 2 else 2
    at += 6

    def number(size: int) -> int:
        nonlocal at
        if at + size > place[1]:
            raise AvifError("an AVIF that breaks off")
        at += size
        return int.from_bytes(data[at - size : at], "big")

    inner = first(meta, b"idat")
    streams = []
    for _ in range(min(number(wide), _MOST_ITEMS)):
        item = number(wide)
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)  # which file: always this one
        base, extents = number(base_size), number(2)
        parts = []
        for _ in range(extents):
            number(index_size)
            start, length = base + number(offset_size), number(length_size)
            if method == 1 and inner:
                start += inner[0]
            if kinds.get(item) == b"av01":
                stop = start + length if length else len(data)
                if method > 1 or stop > len(data):
                    raise AvifError("an AVIF that breaks off")
                parts.append(data[start:stop])
        if kinds.get(item) == b"av01":
            streams.append(b"".join(parts))
            if sum(map(len, streams)) > 4 * len(data):
                raise AvifError("an AVIF whose items overlap")
    return streams


def _kinds(data: bytes, meta: list[tuple[bytes, int, int]]) -> dict[int, bytes]:
    """The kind of each item."""
    place = first(meta, b"iinf")
    if place is None:
        return {}
    found = {}
    for kind, at, _ in boxes(data, place[0] + (6 if data[place[0]] == 0 else 8), place[1]):
        if kind == b"infe" and data[at] in (2, 3):
            wide = 2 if data[at] == 2 else 4
            found[int.from_bytes(data[at + 4 : at + 4 + wide], "big")] = data[at + 6 + wide : at + 10 + wide]
    return found


def _coded(stream: bytes) -> Size:
    """The largest size that the sequence headers of an AV1 stream allow."""
    at, found = 0, []
    while at < len(stream):
        header, at = stream[at], at + 1
        at += header >> 2 & 1
        length = len(stream) - at
        if header & 2:
            length, at = _leb128(stream, at)
        if at + length > len(stream):
            raise AvifError("an AVIF that breaks off")
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            found.append(_sequence(stream[at : at + length]))
        at += length
    if not found:
        raise AvifError("an AVIF whose size cannot be told")
    return max(width for width, _ in found), max(height for _, height in found)


def _leb128(stream: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        value |= (stream[at] & 0x7F) << 7 * i
        at += 1
        if not stream[at - 1] & 0x80:
            return value, at
    raise AvifError("an AVIF that is damaged")


def _sequence(header: bytes) -> Size:
    """Width and height of a sequence header.

    Where frames may have sizes of their own, the largest that their fields can hold.
    """
    bits = "".join(f"{byte:08b}" for byte in header[:512])
    at = 4  # profile, still_picture

    def number(count: int) -> int:
        nonlocal at
        if at + count > len(bits):
            raise AvifError("an AVIF that breaks off")
        at += count
        return int(bits[at - count : at], 2)

    reduced = number(1)
    if reduced:
        number(5)  # level
    else:
        if number(1):
            raise AvifError("an AVIF with timing information, as films have it")
        delays = number(1)
        for _ in range(number(5) + 1):
            number(12)
            if number(5) > 7:
                number(1)
            if delays and number(1):
                number(4)
    across, down = number(4) + 1, number(4) + 1
    width, height = number(across) + 1, number(down) + 1
    return (width, height) if reduced else (1 << across, 1 << down)
