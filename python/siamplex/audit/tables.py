"""An audit as a table for the terminal, as JSON, and as HTML."""

from __future__ import annotations

import html
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


def as_table_html(findings: Sequence[Finding]) -> str:
    """The table as an HTML fragment; every text is escaped."""
    rows = []
    for group, members in groupby(findings, lambda f: f.group):
        rows.append(f'<tr class="group"><th colspan="4" scope="colgroup">{html.escape(group)}</th></tr>')
        for f in members:
            why = f'<div class="why">{html.escape(f.why)}</div>' if f.why else ""
            kind = f.verdict.replace(" ", "-")
            rows.append(
                f'<tr class="{kind}"><th scope="row">{html.escape(f.setting)}{why}</th><td>{html.escape(f.paper)}</td>'
                f'<td>{html.escape(f.run)}</td><td><span class="verdict {kind}">{f.verdict}</span></td></tr>'
            )
    head = "".join(f'<th scope="col">{c}</th>' for c in _COLUMNS)
    return f'<table class="audit"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1b1b }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .35rem .6rem }
tbody th { font-weight: 500 } tr { border-bottom: 1px solid #ddd } .group th { font-weight: 700; padding-top: 1.2rem }
.why { font-weight: 400; color: #555; font-size: .87em } .verdict { white-space: nowrap }
.verdict.differs { color: #a32100; font-weight: 700 } .verdict.same { color: #0b6b3a }
"""


def as_page(findings: Sequence[Finding], title: str) -> str:
    """The table as a page of its own."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<p>{html.escape(summary(findings))}</p>{as_table_html(findings)}</body></html>\n"
    )
