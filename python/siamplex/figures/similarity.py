"""Figures of dissimilarities: matrices layer by layer, and maps made from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from scipy.stats import rankdata

from siamplex.corpus.emotions import NAMES
from siamplex.figures.embedding import STYLE, caption, save
from siamplex.figures.sheet import SHEET, subplots
from siamplex.geometry.orders import ordered
from siamplex.similarity.mds import Map


def draw_rdms(result: dict[str, Any], stem: Path) -> list[Path]:
    """Matrices of the references and, a row for each part, of the layers; each in ranks of its own."""
    rows: list[tuple[str, dict[str, Any]]] = [("references", result["references"])] if result["references"] else []
    titles = {"train": "training subjects", "held_out": "held-out subjects"}
    rows += [(titles[name], part["rdms"]) for name, part in result["parts"].items()]
    wide = max(len(matrices) for _, matrices in rows)
    with rc_context(SHEET):
        figure, grid = subplots(len(rows), wide, figsize=(1.75 * wide + 0.9, 2.05 * len(rows) + 0.5), squeeze=False)
        figure.subplots_adjust(left=0.06, right=0.985, top=1 - 0.35 / (2.05 * len(rows)), bottom=0.1, hspace=0.42)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, (title, matrices) in zip(grid, rows, strict=True):
            for axes, (name, rdm) in zip(line, matrices.items(), strict=False):
                _matrix(axes, rdm, name)
            line[0].text(-0.42, 0.5, title, transform=line[0].transAxes, rotation=90, va="center", ha="center")
        notes = result["facts"].get("notes", [])
        caption(figure, ["dark: alike, light: unlike, by rank within each matrix", *notes])
        return save(figure, stem)


def _matrix(axes: Any, rdm: dict[str, Any], title: str) -> None:
    names = ordered(rdm["names"])
    order = [rdm["names"].index(e) for e in names]
    values = np.array(rdm["values"])[np.ix_(order, order)]
    upper = np.triu_indices(len(order), 1)
    ranks = np.zeros_like(values)
    ranks[upper] = rankdata(values[upper])
    axes.set_axis_on()
    axes.imshow(ranks + ranks.T, cmap="cividis", interpolation="nearest")
    axes.set_title(title, fontsize=8, pad=3)
    ticks = range(len(order))
    axes.set_xticks(ticks, [e.lower() for e in names], fontsize=6)
    axes.set_yticks(ticks, [e.lower() for e in names], fontsize=6)
    axes.tick_params(length=0, pad=1)


def draw_maps(maps: Sequence[Map], title: str, source: str, stem: Path) -> list[Path]:
    """Maps side by side, each with its stress."""
    with rc_context(SHEET):
        figure, grid = subplots(1, len(maps), figsize=(4.6 * len(maps), 4.4), squeeze=False)
        figure.subplots_adjust(left=0.08, right=0.98, top=0.9, bottom=0.16, wspace=0.2)
        for axes, found in zip(grid[0], maps, strict=True):
            for name, (x, y) in zip(found.names, found.points, strict=True):
                colour, marker = STYLE.get(name, ("#444444", "o"))
                axes.scatter([x], [y], s=46, c=colour, marker=marker, linewidths=0)
            for label, (x, y) in _labels(found):
                axes.annotate(label, (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8)
            kind = "metric" if found.metric else "non-metric"
            axes.set_title(f"{title}, {kind} MDS (stress {found.stress:.3f})", loc="left", fontsize=9)
            axes.set_aspect("equal", adjustable="datalim")
            axes.margins(0.18)
            axes.set_xlabel("dimension 1")
            axes.set_ylabel("dimension 2")
        caption(figure, [source] if source else [])
        return save(figure, stem)


def _labels(found: Map) -> list[tuple[str, Any]]:
    """Names at their points; items in one place have one label."""
    width = float(np.ptp(found.points, axis=0).max()) or 1.0
    heaps: list[list[int]] = []
    for i, point in enumerate(found.points):
        near = (h for h in heaps if np.linalg.norm(found.points[h[0]] - point) < 0.04 * width)
        heap = next(near, None)
        if heap is None:
            heaps.append([i])
        else:
            heap.append(i)
    return [(", ".join(NAMES.get(found.names[i], found.names[i]) for i in h), found.points[h[0]]) for h in heaps]
