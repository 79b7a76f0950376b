"""The line of each key in a TOML file, which Python's own parser does not report."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*("[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_.-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=""")


def line_of(text: str, *keys: str) -> int | None:
    """The line, counted from 1, of the key at ``keys`` (tables first), or else of the nearest table around it.

    None where there is none.  Of a key inside an inline table, the line of that table's own key.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    depth = 0  # of brackets that are open from a line before
    for number, line in enumerate(text.splitlines(), 1):
        if depth == 0:
            header, key = _HEADER.match(line), _KEY.match(line)
            if header:
                table = _parts(header.group(1))
                found.setdefault(table, number)
            elif key:
                path = (*table, *_parts(key.group(1)))
                for end in range(len(table) + 1, len(path) + 1):
                    found.setdefault(path[:end], number)
            if header:
                continue
        depth = max(0, depth + _opened(line))
    while keys:
        if keys in found:
            return found[keys]
        keys = keys[:-1]
    return None


def _parts(name: str) -> tuple[str, ...]:
    if name[0] in "\"'":
        return (name[1:-1],)
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _opened(line: str) -> int:
    """How many square brackets a line leaves open, those in strings and comments left out."""
    plain = re.sub(r""""(?:\\.|[^"\\])*"|'[^']*'""", "", line).split("#")[0]
    return plain.count("[") - plain.count("]")
