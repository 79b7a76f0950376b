"""Reads and writes protobuf's wire format without building messages.

A caffemodel is mostly float arrays; going through message objects would copy hundreds of
megabytes element by element.  Here arrays are read as views of the mapped file, and sizes are
checked against the file's own size before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not a protobuf message."""


class Field(NamedTuple):
    """One field: its number, wire type, value (of a varint) and the span of its payload."""

    number: int
    kind: int
    value: int
    start: int
    end: int


def read_varint(buffer: memoryview, at: int, end: int) -> tuple[int, int]:
    """Read a varint at ``at``; return (value, position behind it)."""
    value = shift = 0
    while at < end and shift < 70:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise WireError(f"a number breaks off at byte {at}")


def fields(buffer: memoryview, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in ``buffer[start:end]``; raises WireError."""
    at = start
    while at < end:
        key, at = read_varint(buffer, at, end)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError(f"a field numbered 0 at byte {at}")
        value, first = 0, at
        if kind == VARINT:
            value, at = read_varint(buffer, at, end)
            last = at
        elif kind == BYTES:
            size, first = read_varint(buffer, at, end)
            last = at = first + size
        elif kind in (FIXED64, FIXED32):
            last = at = first + (8 if kind == FIXED64 else 4)
        else:
            raise WireError(f"wire type {kind} at byte {at}")
        if last > end:
            raise WireError(f"field {number} claims {last - first} bytes, {end - first} are left")
        yield Field(number, kind, value, first, last)


def varint(value: int) -> bytes:
    """Encode a non-negative integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def key(number: int, kind: int) -> bytes:
    """A field's key."""
    return varint(number << 3 | kind)


def prefix(number: int, size: int) -> bytes:
    """Key and length that go before ``size`` bytes of field ``number``."""
    return key(number, BYTES) + varint(size)
