"""Figures of judged pictures: distances in embedding and profiles, confusions side by side, answers in the plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context

from siamplex.figures.embedding import STYLE, caption, save
from siamplex.figures.sheet import SHEET, subplots
from siamplex.geometry.embedding import Embedding
from siamplex.similarity.picture_distances import chosen, pair_distances
from siamplex.similarity.picture_report import PictureJudgements, name_of
from siamplex.similarity.report import PARTS

TITLES = {"train": "training subjects", "held_out": "held-out subjects"}
ENDINGS = ("_distances", "_confusions", "_answers")
_DOTS = 3000  # pairs; more are shown by their density
_STEPS = 10


def draw_judgements(
    result: dict[str, Any], embedding: Embedding, judged: PictureJudgements, seed: int, stem: Path
) -> list[Path]:
    """The three figures of the judged pictures in ``result`` (of similarity), for parts that have any."""
    parts = [name for name, part in result["parts"].items() if part.get("pictures")]
    if not parts:
        return []
    notes = result["facts"].get("notes", [])
    own = [stem.with_name(stem.name + ending) for ending in ENDINGS]
    files = _draw_distances(result, parts, embedding, judged, seed, notes, own[0])
    files += _draw_confusions(result, parts, notes, own[1])
    return files + _draw_answers(result, parts, embedding, notes, own[2])


def _panels(count: int, size: float = 4.4) -> tuple[Any, Any]:
    figure, grid = subplots(1, count, figsize=(size * count + 0.6, 4.4), squeeze=False)
    figure.subplots_adjust(left=0.16 / count + 0.01, right=0.97, top=0.9, bottom=0.2, wspace=0.3)
    return figure, grid[0]


def _draw_distances(
    result: dict[str, Any], parts: list[str], embedding: Embedding, judged: PictureJudgements, seed: int,
    notes: list[str], stem: Path,
) -> list[Path]:  # fmt: skip
    """Each pair of pictures by its distance in the plane and between response profiles, and people's mean by tenths."""
    with rc_context(SHEET):
        figure, grid = _panels(len(parts))
        for axes, name in zip(grid, parts, strict=True):
            places = [i for i, split in enumerate(embedding.splits) if split in PARTS[name]]
            responses = judged.responses.of_images(places)
            keep = np.flatnonzero(responses.judged())
            keep = keep[chosen(len(keep), seed)]
            plane, people = pair_distances(embedding.points[places][keep], responses.of_images(keep))[:2]
            if len(plane) > _DOTS:
                drawn = axes.hexbin(plane, people, gridsize=36, bins="log", cmap="Greys", mincnt=1, linewidths=0)
                figure.colorbar(drawn, ax=axes, label="pairs of pictures", pad=0.02)
            else:
                axes.scatter(plane, people, s=6, c="#444444", alpha=0.35, linewidths=0)
            tenths = np.array_split(np.argsort(plane, kind="stable"), _STEPS)
            middle = [(plane[t].mean(), people[t].mean()) for t in tenths if len(t)]
            axes.plot(
                *zip(*middle, strict=True), "o-", color="#D55E00", linewidth=1.4, label="mean of a tenth of pairs"
            )
            found = result["parts"][name]["pictures"]["distances"]
            axes.set_title(f"{TITLES[name]}, Spearman {found['spearman']:+.2f}", loc="left", fontsize=9)
            axes.set_xlabel("distance in the embedding")
            axes.set_ylabel("distance of people's responses (1 - r)")
            axes.legend(loc="lower right", fontsize=7)
        caption(figure, ["a dot or shade for each two pictures", *notes])
        return save(figure, stem)


def _draw_confusions(result: dict[str, Any], parts: list[str], notes: list[str], stem: Path) -> list[Path]:
    """Shares of answers, people's beside those predicted from neighbours; a row for each part."""
    shown = [(name, c["by_emotion"], c["k"]) for name in parts
             if (c := result["parts"][name]["pictures"]["confusions"]) and c["by_emotion"]]  # fmt: skip
    if not shown:
        return []
    with rc_context(SHEET):
        figure, grid = subplots(len(shown), 2, figsize=(8.4, 3.9 * len(shown) + 0.4), squeeze=False)
        edge = 1 / (3.9 * len(shown) + 0.4)
        figure.subplots_adjust(left=0.1, right=0.93, top=1 - 0.4 * edge, bottom=1.0 * edge, hspace=0.32, wspace=0.32)
        for line, (name, found, k) in zip(grid, shown, strict=True):
            for axes, key, title in ((line[0], "people", "people"), (line[1], "predicted", f"{k} nearest pictures")):
                drawn = _heat(axes, np.array(found[key]), found["emotions"], f"{TITLES[name]}: {title}")
                figure.colorbar(drawn, ax=axes, fraction=0.045, pad=0.03)
        caption(
            figure, ["rows: emotion posed; columns: emotion answered, or of neighbours, in shares of the row", *notes]
        )
        return save(figure, stem)


def _heat(axes: Any, values: np.ndarray, emotions: list[str], title: str) -> Any:
    drawn = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    ticks = range(len(emotions))
    labels = [name_of(e) for e in emotions]
    axes.set_xticks(ticks, labels, fontsize=7, rotation=35, ha="right")
    axes.set_yticks(ticks, labels, fontsize=7)
    axes.tick_params(length=0, pad=2)
    axes.set_title(title, loc="left", fontsize=9)
    for i, j in np.ndindex(*values.shape):
        colour = "black" if values[i, j] > 0.6 else "white"
        axes.text(j, i, f"{100 * values[i, j]:.0f}", ha="center", va="center", fontsize=7, color=colour)
    return drawn


def _draw_answers(
    result: dict[str, Any], parts: list[str], embedding: Embedding, notes: list[str], stem: Path
) -> list[Path]:
    """Judged pictures in the plane by people's most frequent answer; ringed where it is not the posed emotion."""
    if embedding.points.shape[1] < 2:
        return []
    at = {image: i for i, image in enumerate(embedding.images)}
    with rc_context(SHEET):
        figure, grid = _panels(len(parts), 4.6)
        seen: dict[str, Any] = {}
        for axes, name in zip(grid, parts, strict=True):
            found = result["parts"][name]["pictures"]
            each = found["each"]
            points = embedding.points[[at[i] for i in each["images"]], :2]
            answers = np.array([_answer(row, each["answers"]) for row in each["people"]])
            for answer in dict.fromkeys((*each["emotions"], *answers.tolist())):
                mine = answers == answer
                colour, marker = STYLE.get(answer, ("#999999", "X" if answer else "x"))
                label = name_of(answer) if answer else "no single answer"
                seen[label] = axes.scatter(points[mine, 0], points[mine, 1], s=20, c=colour, marker=marker,
                                           linewidths=0.3 if marker != "x" else 0.9)  # fmt: skip
            posed = np.array(each["shown"])
            other = (answers != posed) & (answers != "")
            with_people = {row["image"] for row in found["misplaced"]["pictures"]}
            agreed = np.array([image in with_people for image in each["images"]], bool)
            for mask, colour, label in (
                (other & ~agreed, "#999999", "not the posed emotion"),
                (agreed, "#000000", "... and the net agrees"),
            ):
                ring = axes.scatter(points[mask, 0], points[mask, 1], s=70, facecolors="none", edgecolors=colour,
                                    linewidths=0.9)  # fmt: skip
                seen[label] = ring
            axes.set_aspect("equal", adjustable="datalim")
            axes.set_title(TITLES[name], loc="left", fontsize=9)
            axes.set_xlabel("embedding x")
            axes.set_ylabel("embedding y")
        figure.subplots_adjust(right=1 - 1.75 / figure.get_figwidth())
        figure.legend(seen.values(), seen.keys(), loc="center right", fontsize=7.5, handletextpad=0.3)
        caption(figure, ["colours: people's most frequent answer to each picture", *notes])
        return save(figure, stem)


def _answer(shares: list[float], answers: list[str]) -> str:
    """The most frequent answer; empty where two are as frequent."""
    top = max(shares)
    first = [a for a, share in zip(answers, shares, strict=True) if share >= top - 1e-6]
    return first[0] if len(first) == 1 else ""
