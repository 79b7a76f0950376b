"""Boxes: the units of which an ISO media file (AVIF, JPEG 2000) consists."""

from __future__ import annotations

import struct

_MOST = 1000

Box = tuple[bytes, int, int]  # kind, start and end of its content


class BoxError(ValueError):
    """A box that reaches beyond its place."""


def boxes(data: bytes, at: int, end: int) -> list[Box]:
    """The boxes between two places, of which there may be a thousand.  Raises BoxError."""
    found: list[Box] = []
    while at + 8 <= end and len(found) < _MOST:
        length, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1 and body + 8 <= end:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else at + length
        if stop > end or stop < body:
            raise BoxError("a picture in boxes that breaks off")
        found.append((kind, body, stop))
        at = stop
    return found


def first(found: list[Box], kind: bytes) -> tuple[int, int] | None:
    """Start and end of the first box of a kind."""
    return next(((start, end) for what, start, end in found if what == kind), None)
