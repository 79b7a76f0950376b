"""Specification curves: an outcome of all cells, sorted, above each cell's settings (Simonsohn et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from siamplex.figures.embedding import caption, save
from siamplex.figures.sheet import SHEET

_ROW = 0.155  # inches a value of a setting
_HEAD = 0.85  # inches for title and legend
_LINES = ("#D55E00", "#009E73", "#CC79A7", "#E69F00")  # of references
_DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (2, 3)))


@dataclass(frozen=True)
class Curve:
    """The data of one curve over N cells.

    ``values`` (N,), with ``low`` and ``high`` the ends of their intervals, None without intervals; ``learnt``: which
    dots are filled.  ``choices``: for each setting its value in each cell, as text; ``levels``: the order of these
    values.  ``lines`` are references across the whole width, ``bands`` reference ranges.
    """

    title: str
    values: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    learnt: Sequence[bool]
    choices: Mapping[str, Sequence[str]]
    levels: Mapping[str, Sequence[str]]
    lines: Sequence[tuple[str, float]] = ()
    bands: Sequence[tuple[str, tuple[float, float]]] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def draw_curve(curve: Curve, stem: Path) -> list[Path]:
    """Draw a curve of at least one cell as PNG and SVG; returns the files.  Settings with one value go unshown."""
    values = np.asarray(curve.values, np.float64)
    order = np.argsort(values, kind="stable")
    shown = {name: levels for name, levels in curve.levels.items() if len(levels) > 1}
    rows = sum(map(len, shown.values())) + 0.6 * len(shown)
    below = max(_ROW * rows, 0.1)
    height = 2.6 + _HEAD + below + 0.75
    with rc_context(SHEET):
        figure = Figure(figsize=(8.4, height))
        edge = {"left": 0.2, "right": 0.97}
        top = figure.add_gridspec(1, 1, **edge, top=1 - _HEAD / height, bottom=(below + 0.75) / height).subplots()
        _draw_values(top, curve, values, order)
        if shown:
            grid = figure.add_gridspec(1, 1, **edge, top=(below + 0.6) / height, bottom=0.6 / height)
            _draw_choices(grid.subplots(), curve.choices, shown, order)
        caption(figure, ["a dot for each cell, a line through it for its 95 % over subjects", *curve.notes])
        return save(figure, stem)


def _draw_values(axes: Any, curve: Curve, values: Any, order: Any) -> None:
    places = np.arange(len(order))
    for (label, span), colour in zip(curve.bands, ("#BBBBBB", "#DDCC99"), strict=False):
        axes.axhspan(*span, color=colour, alpha=0.45, linewidth=0, label=label, zorder=0)
    for i, (label, value) in enumerate(curve.lines):
        axes.axhline(value, color=_LINES[i % 4], linestyle=_DASHES[i % 4], linewidth=1.0, label=label, zorder=1)
    for place, i in zip(places, order, strict=True):
        low, high = curve.low[i], curve.high[i]
        if low is not None and high is not None:
            axes.plot([place, place], [low, high], color="#9FB8CC", linewidth=min(1.2, 300 / len(order)), zorder=2)
    learnt = np.asarray(curve.learnt, bool)[order]
    size = float(np.clip(900 / len(order), 5, 22))
    for mask, face, label in ((learnt, "#0072B2", "learnt"), (~learnt, "white", "not learnt")):
        if mask.any():
            axes.scatter(places[mask], values[order][mask], s=size, facecolors=face, edgecolors="#0072B2",
                         linewidths=0.6, label=label, zorder=3)  # fmt: skip
    axes.set_xlim(-0.8, len(order) - 0.2)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(y=0.06)
    if (values == np.round(values)).all():  # counts
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.figure.text(0.02, 1 - 0.08 / axes.figure.get_figheight(), curve.title, fontsize=10, va="top")
    axes.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, handletextpad=0.5, borderaxespad=0.2)


def _draw_choices(
    axes: Any, choices: Mapping[str, Sequence[str]], shown: Mapping[str, Sequence[str]], order: Any
) -> None:
    y, ticks, labels = 0.0, [], []
    places = np.arange(len(order))
    for number, (name, levels) in enumerate(shown.items()):
        start = y
        for level in levels:
            mine = np.array([choices[name][i] == level for i in order], bool)
            colour = "#333333" if number % 2 == 0 else "#8A5A00"
            axes.vlines(
                places[mine], y - 0.42, y + 0.42, color=colour, linewidth=float(np.clip(260 / len(order), 0.7, 5))
            )
            ticks.append(y)
            labels.append(level if len(level) <= 18 else level[:17] + "…")
            y += 1
        axes.text(
            -0.135, (start + y - 1) / 2, name, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=7
        )
        y += 0.6
    axes.set_xlim(-0.8, len(order) - 0.2)
    axes.set_ylim(y - 0.6 - 0.4, -0.6)
    axes.set_xticks([])
    axes.set_yticks(ticks, labels, fontsize=6)
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
