"""One style for all figures, drawn without a screen."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

SHEET = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.markersize": 5,
    "savefig.dpi": 160,
    "svg.hashsalt": "siamplex",
    "svg.fonttype": "none",
}


def subplots(
    rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], squeeze: bool = True
) -> tuple[Figure, Any]:
    """A figure of panels, ``figsize`` in inches, and its axes: as pyplot's, whose backend it leaves alone."""
    figure = Figure(figsize=figsize)
    return figure, figure.subplots(rows, columns, squeeze=squeeze)
