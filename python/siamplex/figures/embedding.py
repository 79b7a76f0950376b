"""Figures 3 to 6 of the paper and the loss curve, in one style, as PNG and SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context

from siamplex.corpus.emotions import NAMES, in_order
from siamplex.engine.training.early_stop import lowest
from siamplex.errors import UsageError
from siamplex.figures.sheet import SHEET, subplots
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import LINE, centroids, line_order, on_a_line, singular_ratio
from siamplex.run.durable import atomic_path
from siamplex.run.output_names import ending

# colours that red-green blind readers tell apart (Okabe and Ito; contempt in a dark yellow, which shows on white), and
# a marker for each as well
STYLE = {
    "AN": ("#D55E00", "^"),
    "FE": ("#CC79A7", "v"),
    "DI": ("#009E73", "s"),
    "HA": ("#E69F00", "o"),
    "SA": ("#0072B2", "D"),
    "SP": ("#56B4E9", "P"),
    "NE": ("#000000", "X"),
    "CA": ("#999999", "p"),
    "CO": ("#8C6D1F", "*"),
}


def scatter(axes: Any, embedding: Embedding, title: str) -> None:
    """Draw the first two coordinates of an embedding, equal axes, one colour and marker an emotion."""
    if embedding.points.shape[1] < 2:
        raise UsageError(f"a figure needs 2 coordinates, found {embedding.points.shape[1]}")
    labels = np.array(embedding.emotions)
    for emotion in in_order(set(embedding.emotions)):
        mine = embedding.points[labels == emotion]
        colour, marker = STYLE[emotion]
        axes.scatter(
            mine[:, 0], mine[:, 1], s=20, c=colour, marker=marker, label=emotion.lower(),
            linewidths=0.3, edgecolors="white", alpha=0.9,
        )  # fmt: skip
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(title, loc="left")
    centres = centroids(embedding.points[:, :2], embedding.emotions)
    if len(centres) > 2:
        ratio = singular_ratio(np.array(list(centres.values())))
        words = f"ratio {ratio:.2f}" + (": a line" if ratio < LINE else "")
        axes.text(0.99, 0.99, words, transform=axes.transAxes, ha="right", va="top", fontsize=7, color="#444444")
    axes.set_xlabel("embedding x")
    axes.set_ylabel("embedding y")


def _legend(figure: Any, panels: Iterable[Any]) -> None:
    """One legend of the emotions that any of the panels shows."""
    known = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = [e.lower() for e in in_order({label.upper() for label in known})]
    handles = [known[label] for label in labels]
    names = [f"{label}  {NAMES[label.upper()]}" for label in labels]
    figure.legend(handles, names, loc="center right", handletextpad=0.3)


def shape_notes(embeddings: Sequence[Embedding]) -> list[str]:
    """Notes for a caption: the ratio shown in its panels, and emotions on a line."""
    notes = [f"ratio: second over first singular value of the emotions' centroids; below {LINE:g}, a line"]
    if len(embeddings) == 1:
        points = embeddings[0].points[:, :2]
        centres = centroids(points, embeddings[0].emotions)
        if len(centres) > 2 and on_a_line(centres):
            notes.append(f"a line has no circular order; along it {'-'.join(NAMES[e] for e in line_order(centres))}")
    return notes


def caption(figure: Any, notes: Iterable[str]) -> None:
    """Write a figure's notes, small, along its lower edge."""
    text = "; ".join(dict.fromkeys(notes))
    if text:
        columns = int(figure.get_figwidth() * 17)
        lines = "\n".join(textwrap.wrap(text[0].upper() + text[1:] + ".", columns))
        figure.text(0.01, 0.008, lines, fontsize=6.5, color="#444444", va="bottom", ha="left")


def save(figure: Any, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG; returns the files."""
    files = []
    for suffix in (".png", ".svg"):
        path = ending(stem, suffix)
        with atomic_path(path) as part:
            figure.savefig(part, format=suffix[1:], metadata={"Date": None} if suffix == ".svg" else None)
        files.append(path)
    return files


def draw_embedding(embedding: Embedding, title: str, stem: Path) -> list[Path]:
    """One embedding as one figure; returns the files written."""
    with rc_context(SHEET):
        figure, axes = subplots(figsize=(6.2, 5.0))
        figure.subplots_adjust(left=0.11, right=0.76, top=0.93, bottom=0.17)
        scatter(axes, embedding, title)
        _legend(figure, [axes])
        caption(figure, [*shape_notes([embedding]), *embedding.facts.get("notes", [])])
        return save(figure, stem)


def draw_panels(panels: Sequence[tuple[str, Embedding]], stem: Path) -> list[Path]:
    """Several embeddings side by side, two in a row."""
    with rc_context(SHEET):
        rows = -(-len(panels) // 2)
        figure, grid = subplots(rows, 2, figsize=(9.6, 3.9 * rows + 0.3), squeeze=False)
        edge = 1 / (3.9 * rows)
        figure.subplots_adjust(left=0.07, right=0.85, top=1 - 0.3 * edge, bottom=0.75 * edge, hspace=0.28, wspace=0.2)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, embedding) in zip(grid.flat, panels, strict=False):
            scatter(axes, embedding, title)
        _legend(figure, grid.flat)
        shown = [e for _, e in panels]
        caption(figure, [*shape_notes(shown), *(note for e in shown for note in e.facts.get("notes", []))])
        return save(figure, stem)


Losses = Sequence[tuple[int, float, float | None]]
Validation = Sequence[tuple[int, float]]


def draw_losses(
    stages: Sequence[tuple[str, Losses]], notes: Sequence[str], stem: Path, validation: Sequence[Validation] = ()
) -> list[Path]:
    """Training loss over iterations, stages one after the other, with a running median.

    ``validation`` holds (iteration, loss) of each stage's tests: points, the lowest of each stage ringed.
    """
    with rc_context(SHEET):
        figure, axes = subplots(figsize=(7.2, 4.0))
        figure.subplots_adjust(left=0.1, right=0.97, top=0.92, bottom=0.22)
        start = 0
        colours = ("#0072B2", "#D55E00", "#009E73")
        for number, ((label, losses), colour) in enumerate(zip(stages, colours, strict=False)):
            at = np.array([row[0] for row in losses], float) + start
            values = np.array([row[1] for row in losses])
            axes.plot(at, values, color=colour, alpha=0.3, linewidth=0.7)
            axes.plot(at, _running_median(values), color=colour, linewidth=1.6, label=label)
            tests = validation[number] if number < len(validation) else ()
            _draw_validation(axes, tests, start, colour)
            if start:
                axes.axvline(start, color="#999999", linewidth=0.7, linestyle=":")
            start = int(at[-1]) if len(at) else start
        positive = [row[1] for _, losses in stages for row in losses if row[1] > 0]
        if positive and max(positive) > 20 * float(np.median(positive)):
            axes.set_yscale("log")
        axes.set_xlabel("iteration")
        axes.set_ylabel("contrastive loss")
        words = "; points: validation, lowest ringed" if any(validation) else ""
        axes.set_title(f"Training loss (thin: as displayed, thick: running median{words})", loc="left")
        axes.legend()
        dropout = ["training loss is with dropout, validation loss without"] if any(validation) else []
        caption(figure, [*dropout, *notes])
        return save(figure, stem)


def _draw_validation(axes: Any, tests: Validation, start: int, colour: str) -> None:
    best = lowest(tests)
    if best is None:
        return
    at = [iteration + start for iteration, _ in tests]
    axes.plot(at, [loss for _, loss in tests], color=colour, linestyle=":", marker="o", markersize=3, linewidth=1,
              label=f"validation, lowest {best[1]:.3g} at {best[0]}")  # fmt: skip
    axes.plot([best[0] + start], [best[1]], color="#222222", marker="o", markersize=9, fillstyle="none", linestyle="")


def _running_median(values: Any, width: int = 15) -> Any:
    half = min(width, max(1, len(values) // 4)) // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def draw_paper_figures(
    stage1: Sequence[Embedding],
    stage2: Embedding | None,
    losses: Sequence[tuple[str, Losses]],
    folder: Path,
    validation: Sequence[Validation] = (),
) -> list[Path]:
    """Figures 3a-d, 3, 4, 5, 6 and the loss curve, as far as there is something to draw.

    ``stage1`` holds embeddings of rising iterations: the last is Figure 4, those before it are the
    panels of Figure 3.  ``validation`` are (iteration, loss) of each stage's tests.  Figures 3 to 5
    show the training subjects, Figure 6 the held-out ones.
    """
    files: list[Path] = []
    panels = []
    for letter, embedding in zip("abcdefgh", stage1[:-1], strict=False):
        title = f"{letter}) {embedding.facts.get('iteration', '?')} iterations"
        shown = embedding.of_split("train")
        panels.append((title, shown))
        files += draw_embedding(shown, f"Figure 3{title}", folder / f"fig3{letter}")
    if panels:
        files += draw_panels(panels, folder / "fig3")
    if stage1:
        last = stage1[-1]
        title = f"Figure 4) {last.facts.get('iteration', '?')} iterations, conv1-3 frozen"
        files += draw_embedding(last.of_split("train"), title, folder / "fig4")
    if stage2:
        files += draw_embedding(stage2.of_split("train"), "Figure 5) fine-tuned, training subjects", folder / "fig5")
        held_out = stage2.of_split("test")
        if len(held_out):
            files += draw_embedding(held_out, "Figure 6) fine-tuned, held-out test subjects", folder / "fig6")
    if losses:
        last_notes = (stage2 or stage1[-1]).facts.get("notes", []) if (stage2 or stage1) else []
        files += draw_losses(losses, last_notes, folder / "loss", validation)
    return files
