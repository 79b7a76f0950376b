"""Forecast of a pair store's disk, memory and time; constants measured on two cores (docs/pairs.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from siamplex.pairs.store import stacked_bytes

_PYTHON = 110e6  # bytes of a process that does nothing yet
_ALL, _DRAWN = 28, 40  # bytes in memory of a pair while all are made, or some drawn
_INDEXED = 36.5  # bytes of a pair in an LMDB
_RECORD = 1.1e-6  # seconds to write a pair of indices
_MAKE_ALL, _MAKE_DRAWN = 2.5e-7, 7e-7  # seconds to make a pair
_PICTURE = 2.5e-3  # seconds to read a picture
_WRITTEN = 250e6  # bytes of pixels written in a second
CAFFE = 2**31 - 1  # bytes that protobuf, and so a real Caffe, reads of a caffemodel


@dataclass(frozen=True)
class Forecast:
    """Pairs, bytes on disk, bytes of memory, seconds; bytes of the image table (0 where there is none)."""

    pairs: int
    disk: int
    memory: int
    seconds: float
    table: int

    def words(self) -> str:
        """In a line or two."""
        minutes = self.seconds / 60
        time = f"{minutes:.0f} min" if minutes >= 2 else f"{max(self.seconds, 1):.0f} s"
        line = f"{self.pairs:,} pairs: about {_size(self.disk)} of disk, {_size(self.memory)} of memory and {time}"
        if self.table > CAFFE:
            line += f"; the image table takes {_size(self.table)}, and a real Caffe reads 2 GiB: --layout stacked, a "
            line += "smaller --size, or the embedded engine"
        return line


def forecast(pairs: Mapping[str, int], images: int, size: int, layout: str, drawn: bool) -> Forecast:
    """Of a store with so many ``pairs`` by split, of ``images`` of ``size`` pixels each way."""
    count, most = sum(pairs.values()), max(pairs.values(), default=0)
    pixels = 3 * size * size
    held = most * (_DRAWN if drawn else _ALL)  # a split at a time
    table = 4 * pixels * images if layout == "indexed" else 0
    if layout == "indexed":
        disk, written = _INDEXED * count + table, count * _RECORD + table / _WRITTEN
        held += 64 * 5 * pixels
    else:
        disk = sum(stacked_bytes(n, size) for n in pairs.values())
        written = disk / _WRITTEN
        held += images * pixels
    seconds = images * _PICTURE + count * (_MAKE_DRAWN if drawn else _MAKE_ALL) + written
    return Forecast(count, round(disk), round(_PYTHON + held), seconds, table)


def _size(count: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{max(1, round(count / 1e3))} kB"
