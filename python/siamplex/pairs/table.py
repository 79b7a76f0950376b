"""Table 1 of the paper: how many pairs there are of each two emotions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from siamplex.pairs.drawing import numbers
from siamplex.pairs.pairing import Pairs

_AT_ONCE = 1 << 20


def pair_counts(pairs: Pairs, emotions: list[str]) -> dict[tuple[str, str], int]:
    """Pairs of each unordered couple of emotions, in alphabetical order of codes."""
    order, codes = np.unique(np.asarray(emotions), return_inverse=True)
    count = len(order)
    found = np.zeros(count**2, np.int64)
    for start in range(0, len(pairs), _AT_ONCE):
        a, b = (codes[side[start : start + _AT_ONCE]] for side in (pairs.first, pairs.second))
        found += np.bincount(np.minimum(a, b) * count + np.maximum(a, b), minlength=count**2)
    return {(str(order[i]), str(order[j])): int(found[i * count + j]) for i in range(count) for j in range(i, count)}


def full_counts(emotions: Sequence[str]) -> dict[tuple[str, str], int]:
    """The same counts for all pairs of images that show these emotions, computed without making the pairs."""
    return numbers(Counter(emotions))


def format_table(counts: Mapping[tuple[str, str], int], title: str) -> str:
    """The counts as an upper triangle with their total, ready to print."""
    width = max(7, *(len(f"{n:,}") + 1 for n in counts.values()))
    order = sorted({e for couple in counts for e in couple})
    lines = [title, "  " + "".join(f"{e:>{width}}" for e in order)]
    for i, row in enumerate(order):
        cells = ["" if j < i else f"{counts[(row, e)]:,}" for j, e in enumerate(order)]
        lines.append(row + "".join(f"{cell:>{width}}" for cell in cells))
    same = sum(n for (a, b), n in counts.items() if a == b)
    total = sum(counts.values())
    lines.append(f"total {total:,} pairs: {same:,} same, {total - same:,} different")
    return "\n".join(lines)


def table_csv(tables: Mapping[str, Mapping[tuple[str, str], int]]) -> str:
    """All tables as CSV rows: split, first, second, pairs."""
    lines = ["split,first,second,pairs"]
    lines += [f"{s},{a},{b},{n}" for s, counts in tables.items() for (a, b), n in counts.items()]
    return "\n".join(lines) + "\n"
