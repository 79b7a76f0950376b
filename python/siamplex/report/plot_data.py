"""The data that the page's script plots: points, losses, thumbnails, as JSON."""

from __future__ import annotations

import json
from math import isfinite

from markupsafe import Markup

from siamplex.corpus.emotions import NAMES
from siamplex.figures.embedding import STYLE
from siamplex.geometry.orders import ordered
from siamplex.report.content import SPLITS, Content
from siamplex.report.thumbnails import SIDE


def plot_data(content: Content) -> Markup:
    """JSON for a script element; ``<``, the only character its HTML parser looks for, is escaped."""
    last = content.snapshots[-1][1]
    faces = [
        {"image": i, "subject": s, "emotion": e, "split": p}
        for i, s, e, p in zip(last.images, last.subjects, last.emotions, last.splits, strict=True)
    ]
    sprite = content.sprite
    data = {
        "emotions": [
            {"code": e, "name": NAMES[e], "colour": STYLE[e][0], "marker": STYLE[e][1]}
            for e in ordered(set(last.emotions))
        ],
        "splits": [s for s in SPLITS if s in last.splits],
        "faces": faces,
        "snapshots": [
            {"title": title, "points": [[_short(v) for v in p[:2]] for p in e.points]} for title, e in content.snapshots
        ],
        "losses": [
            {"stage": stage, "rows": [[i, _short(v)] for i, v in rows], "tests": _tests(content, stage)}
            for stage, rows in content.losses
        ],
        "sprite": {"uri": sprite.uri, "columns": sprite.columns, "rows": sprite.rows, "side": SIDE} if sprite else None,
    }
    return Markup(json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _tests(content: Content, stage: str) -> list[list[float]]:
    """Iterations and validation losses of a stage's tests."""
    found = next((learnt.tests for label, learnt in content.learning if label == stage), [])
    return [[iteration, _short(loss)] for iteration, loss in found if isfinite(loss)]
