"""The elements of sections: tables and pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """Texts by row; columns from ``numbers`` on hold figures and are set flush right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int


@dataclass(frozen=True)
class Picture:
    """A PNG inside the page; ``wide`` ones take the page's width."""

    base64: str
    caption: str
    wide: bool = False

    @classmethod
    def read(cls, path: Path, caption: str, wide: bool = False) -> Picture:
        """A PNG file."""
        return cls(base64.b64encode(path.read_bytes()).decode("ascii"), caption, wide)


def ratio(value: float | None) -> str:
    """A ratio of singular values, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def sentence(words: str) -> str:
    """The words with a capital first letter."""
    return words[0].upper() + words[1:]
