"""Checks an LMDB's page tree before liblmdb, which trusts it, opens the file.

liblmdb follows page numbers and offsets unchecked: a crafted file makes it read outside the map.  Here every page that
a reader can reach is checked to lie in the file, every node in its page, every value in the file.  Values on overflow
pages are not read, so that large stores open at once.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_HEADER = struct.Struct("<QHHHH")  # page number, padding, flags, end of the offsets, start of the nodes
_HEADER_SIZE = 16
_BRANCH, _LEAF = 1, 2
_BIG, _PLAIN = 1, 0  # flags of a leaf's node: its value on pages of its own, or in the page
_NODE_SIZE = 8
_MOST_LEVELS = 31  # liblmdb's cursor holds 32
_NO_ROOT = 2**64 - 1


class TreeError(ValueError):
    """The pages do not make a tree."""


class Database(NamedTuple):
    """An LMDB's main database as its meta page describes it."""

    flags: int
    depth: int
    entries: int
    root: int


def check_tree(buffer: memoryview, page_size: int, pages: int, database: Database) -> None:
    """Walk the tree of ``database`` in a file of ``pages`` pages; raises TreeError."""
    if database.flags:
        raise TreeError(f"database flags {database.flags}")
    if database.root == _NO_ROOT:
        if database.entries:
            raise TreeError(f"{database.entries} records without a root")
        return
    if not 1 <= database.depth <= _MOST_LEVELS:
        raise TreeError(f"a tree of {database.depth} levels")
    seen: set[int] = set()
    level = [database.root]
    entries = 0
    for depth in range(1, database.depth + 1):
        below: list[int] = []
        for number in level:
            if not 2 <= number < pages or number in seen:
                raise TreeError(f"page {number} of {pages}, or twice")
            seen.add(number)
            page = buffer[number * page_size : (number + 1) * page_size]
            if depth < database.depth:
                below += _branch(page, number)
            else:
                entries += _leaf(page, number, pages)
        level = below
    if entries != database.entries:
        raise TreeError(f"{entries} records where {database.entries} are said")


def _nodes(page: memoryview, number: int, flag: int, least: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offsets (n,) of a page's nodes, and their four 16-bit words (n, 4)."""
    found, _, flags, lower, upper = _HEADER.unpack_from(page)
    count = (lower - _HEADER_SIZE) // 2
    if found != number or flags & 0xF != flag or flags & ~0x1F:
        raise TreeError(f"page {number} is not what it should be")
    if not _HEADER_SIZE <= lower <= upper <= len(page) or lower % 2 or count < least:
        raise TreeError(f"page {number} has no room for its nodes")
    words = np.frombuffer(page, "<u2").astype(np.int64)
    offsets = words[_HEADER_SIZE // 2 : lower // 2]
    if (offsets % 2).any() or (offsets < upper).any() or (offsets > len(page) - _NODE_SIZE).any():
        raise TreeError(f"page {number} has a node outside")
    return offsets, words[offsets[:, None] // 2 + np.arange(4)]


def _branch(page: memoryview, number: int) -> list[int]:
    """Pages below a branch page."""
    offsets, words = _nodes(page, number, _BRANCH, 2)
    if (offsets + _NODE_SIZE + words[:, 3] > len(page)).any():
        raise TreeError(f"page {number} has a key outside")
    below: list[int] = (words[:, 0] | words[:, 1] << 16 | words[:, 2] << 32).tolist()
    return below


def _leaf(page: memoryview, number: int, pages: int) -> int:
    """Number of records on a leaf page."""
    offsets, words = _nodes(page, number, _LEAF, 1)
    sizes, kinds, ends = words[:, 0] | words[:, 1] << 16, words[:, 2], offsets + _NODE_SIZE + words[:, 3]
    if not np.isin(kinds, (_PLAIN, _BIG)).all():
        raise TreeError(f"page {number} has a node of another kind")
    big = kinds == _BIG
    if (ends + np.where(big, 8, sizes) > len(page)).any():
        raise TreeError(f"page {number} has a value outside")
    for end, size in zip(ends[big].tolist(), sizes[big].tolist(), strict=True):
        (first,) = struct.unpack_from("<Q", page, end)
        if not 2 <= first < pages or first + -(-(_HEADER_SIZE + size) // len(page)) > pages:
            raise TreeError(f"page {number} has a value outside the file")
    return len(offsets)
