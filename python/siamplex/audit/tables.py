"""An audit as a table for the terminal and as JSON."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from siamplex.audit.finding import VERDICTS, Finding

_COLUMNS = ("setting", "paper", "this run", "verdict")
_MARKS = {"same": "", "differs": "!", "paper silent": "-", "paper inconsistent": "~", "not checked": "?"}


def summary(findings: Sequence[Finding]) -> str:
    """How many of each verdict, in a line."""
    counts = Counter(f.verdict for f in findings)
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])


def as_text(findings: Sequence[Finding], width: int | None = None) -> str:
    """The table, wrapped to ``width`` columns (the terminal's), reasons below their rows."""
    width = max(72, width or shutil.get_terminal_size((110, 24)).columns)
    verdict, mark = 18, 2
    rest = width - verdict - mark - 3
    cells = (rest * 30 // 100, rest * 32 // 100, rest - rest * 30 // 100 - rest * 32 // 100)
    lines = [" " * mark + _row([*_COLUMNS[:3], _COLUMNS[3]], (*cells, verdict))[0]]
    for group, members in groupby(findings, lambda f: f.group):
        lines += ["", group.upper()]
        for f in members:
            rows = _row([f.setting, f.paper, f.run, f.verdict], (*cells, verdict))
            lines += [f"{_MARKS[f.verdict] if i == 0 else '':<{mark}}{row}".rstrip() for i, row in enumerate(rows)]
            if f.why:
                lines += textwrap.wrap(f.why, width - 6, initial_indent="      ", subsequent_indent="      ")
    return "\n".join([*lines, "", summary(findings)])


def _row(texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    columns = [textwrap.wrap(text, width - 1) or [""] for text, width in zip(texts, widths, strict=True)]
    height = max(map(len, columns))
    return [
        " ".join(f"{column[i] if i < len(column) else '':<{w - 1}}" for column, w in zip(columns, widths, strict=True))
        for i in range(height)
    ]


def as_json(findings: Sequence[Finding]) -> str:
    """Findings and counts."""
    counts = Counter(f.verdict for f in findings)
    return json.dumps({"findings": [asdict(f) for f in findings], "counts": dict(counts)}, indent=1) + "\n"
