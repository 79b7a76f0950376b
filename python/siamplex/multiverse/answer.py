"""The results of a multiverse, from its finished cells: table, curves, shares, chance, baselines, one paragraph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding
from siamplex.multiverse.baselines import CEILING, Baseline, baselines, features_of
from siamplex.multiverse.chance import Chance, as_lines, chances
from siamplex.multiverse.curves import CURVES, draw_curves
from siamplex.multiverse.draws import Weights
from siamplex.multiverse.outcomes import OUTCOMES, measure
from siamplex.multiverse.people import read_people
from siamplex.multiverse.shares import Shares, percent, variance_shares
from siamplex.multiverse.store import CONTROLS, StoredCell, cells_folder, read
from siamplex.multiverse.table import frame, parquet_missing, setting_columns, write_csv, write_parquet
from siamplex.multiverse.words import Verdict, paragraph, verdicts
from siamplex.run.durable import atomic_directory, discard, write_text
from siamplex.run.progress import say, track

FORMAT = 1
_SHARED = ("learnt", *CURVES)  # outcomes whose variance is shared out


@dataclass(frozen=True)
class Answer:
    """What :func:`answer` writes: ``table``, a row a cell; ``shares`` by outcome; ``notes`` on what is missing."""

    table: pd.DataFrame
    settings: list[str]
    chance: dict[str, Chance]
    baselines: list[Baseline]
    shares: dict[str, Shares]
    verdicts: list[Verdict]
    paragraph: str
    notes: list[str]
    figures: list[Path]


def answer(run: Path, human: Path | None = None, device: str = "cpu") -> Answer:
    """Measure the finished cells of a run, and write the results to ``RUN/multiverse``.

    ``multiverse.csv`` (and ``.parquet`` with pyarrow), ``baselines.csv``, ``answer.json``, ``answer.txt`` and
    ``figures``, as SVG and PNG.  ``human``: judgements to compare the cells with (:mod:`~siamplex.multiverse.people`).
    Raises InputError where no cell is finished or one has other images, UsageError for judgements of other emotions,
    StorageError.
    """
    cells = read(run)
    if not cells:
        raise InputError(cells_folder(run), "finished cells (siamplex multiverse)", "none")
    found = _examine(run, cells, human, device)
    folder = run / "multiverse"
    write_csv(found.table, folder / "multiverse.csv")
    _write_parquet(found, folder / "multiverse.parquet")
    write_csv(baseline_table(found.baselines), folder / "baselines.csv")
    with atomic_directory(folder / "figures") as part:
        names = draw_curves(found.table, found.settings, accuracies(found.baselines), _source(found), part)
    found = replace(found, figures=[folder / "figures" / path.name for path in names])
    write_text(folder / "answer.json", json.dumps(as_json(found), indent=1, allow_nan=False) + "\n")
    write_text(folder / "answer.txt", as_text(found) + "\n")
    return found


def _examine(run: Path, cells: Sequence[StoredCell], human: Path | None, device: str) -> Answer:
    first: Embedding | None = None
    people = None
    subjects = Weights.draw((), "subjects")
    folds: dict[int, Embedding] = {}
    measured = []
    for cell in track(cells, "outcomes of cells", len(cells)):
        embedding = None if cell.learning.diverged else cell.embedding()
        if embedding is not None:
            if first is None:
                first = as_shown(embedding)
                subjects = Weights.draw(embedding.subjects, "subjects")
                people = read_people(human, first, run) if human else None
            if embedding.images != first.images or embedding.subjects != first.subjects:
                raise InputError(cell.embedding_path, "the images and subjects of the other cells", "others")
            folds.setdefault(cell.fold, as_shown(embedding))
        measured.append(measure(cell, embedding, people, subjects))
    table = frame(cells, measured)
    columns = setting_columns(cells)
    settings = list(columns.values())
    rows, notes = features_of(run, device) if folds else ({}, ["no baselines: every cell diverged"])
    if folds and first is not None:
        strangers = [name for name, known in rows.items() if not set(first.images) <= set(known.images)]
        notes += [f"no baselines of {name}: the pair store has other images than the cells" for name in strangers]
        rows = {name: known for name, known in rows.items() if name not in strangers}
    made = baselines(rows, folds, people, subjects)
    chance = chances(table)
    judged = verdicts(table, settings)
    drawn = first is not None and any("synthetic" in str(note) for note in first.facts.get("notes", []))
    shares = {
        name: share
        for name in _SHARED
        if (share := variance_shares(table, name, settings, [m.drawn.get(name) for m in measured]))
    }
    words = paragraph(table, judged, chance, accuracies(made), drawn)
    missing = parquet_missing()
    notes += [f"multiverse.parquet was not written: {missing}"] if missing else []
    return Answer(table, settings, chance, made, shares, judged, words, notes, [])


def as_shown(embedding: Embedding) -> Embedding:
    """An embedding labelled by what its images show, even if its cell was trained on shuffled labels."""
    shown = embedding.facts.get("shown")
    if isinstance(shown, list) and len(shown) == len(embedding):
        return replace(embedding, emotions=[str(e) for e in shown])
    return embedding


def _write_parquet(found: Answer, path: Path) -> None:
    """Write the Parquet file, or remove that of an earlier table where it cannot be written."""
    missing = parquet_missing()
    if missing:
        discard(path)
        say(f"{path.name} is not written: {missing}")
    else:
        write_parquet(found.table, path, OUTCOMES)


def _source(found: Answer) -> list[str]:
    return ["faces are drawn"] if "drawn faces" in found.paragraph else []


def accuracies(made: Sequence[Baseline]) -> dict[str, float]:
    """Mean held-out accuracy over folds of every baseline that has one, the ceiling first."""
    found: dict[str, list[float]] = {}
    for one in made:
        value = one.measured.values.get("held_out_accuracy")
        if value is not None:
            name = f"{one.method} of {one.features}"
            found.setdefault(f"{name} told the emotions" if one.method == CEILING else name, []).append(float(value))
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return dict(sorted(means.items(), key=lambda item: not item[0].startswith(CEILING)))


def baseline_table(made: Sequence[Baseline]) -> pd.DataFrame:
    """A row a method, features and fold; outcomes as in the cells' table."""
    kept = [n for n in OUTCOMES if n not in ("diverged", "learnt", "validation_ratio")]
    rows: list[dict[str, Any]] = []
    for one in made:
        row: dict[str, Any] = {"method": one.method, "features": one.features, "fold": one.fold}
        for name in kept:
            row[name] = one.measured.values.get(name)
            ends = one.measured.interval(name)
            if ends:
                row[f"{name}_low"], row[f"{name}_high"] = ends
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["method", "features", "fold", *kept])


def as_json(found: Answer) -> dict[str, Any]:
    """The answer as plain objects; cells' outcomes are in the table."""
    return {
        "format": FORMAT,
        "paragraph": found.paragraph,
        "notes": found.notes,
        "cells": {name or "paper": int((found.table["control"] == name).sum()) for name in CONTROLS},
        "settings": found.settings,
        "outcomes": dict(OUTCOMES),
        "verdicts": [asdict(v) for v in found.verdicts],
        "chance": {name: asdict(c) for name, c in found.chance.items()},
        "shares": {name: asdict(s) for name, s in found.shares.items()},
        "baselines": [
            {"method": b.method, "features": b.features, "fold": b.fold, **b.measured.values,
             "held_out_interval": b.measured.interval("held_out_accuracy")}
            for b in found.baselines
        ],
        "figures": [path.name for path in found.figures],
    }  # fmt: skip


def as_text(found: Answer) -> str:
    """The answer to read."""
    lines = [found.paragraph, *(f"note: {note}" for note in found.notes), ""]
    lines += ["How often the paper's order comes out", *as_lines(found.chance), ""]
    lines += _share_lines(found.shares)
    lines += _baseline_lines(found.baselines)
    return "\n".join(lines).rstrip()


def _share_lines(shares: Mapping[str, Shares]) -> list[str]:
    if not shares:
        return ["Which setting moves which outcome: too few cells that differ to say", ""]
    lines = ["Which setting moves which outcome: shares of variance over cells [95 %, subjects and seeds resampled]"]
    for name, found in shares.items():
        lines.append(f"  {OUTCOMES[name]}, {found.cells} cells")
        for setting, share in sorted(found.shares.items(), key=lambda item: -item[1]):
            ends = found.intervals[setting]
            spread = f" [{percent(ends[0])}, {percent(ends[1])}]" if ends else ""
            lines.append(f"    {setting:<24}{percent(share):>6}{spread}")
        lines.append(f"    {'interactions and noise':<24}{percent(found.left):>6}")
    return [*lines, ""]


def _baseline_lines(made: Sequence[Baseline]) -> list[str]:
    if not made:
        return []
    lines = ["Simpler methods, by fold", f"  {'':<40}{'held-out':>9}{'ratio':>7}  order"]
    for one in made:
        values = one.measured.values
        known, ratio = (values[name] for name in ("held_out_accuracy", "ratio"))
        share = "-" if known is None else f"{float(known):.0%}"
        flat = "-" if ratio is None else f"{float(ratio):.2f}"
        order = values["order"] or ("on a line" if values["line"] else "-")
        lines.append(f"  {f'{one.method} of {one.features}, fold {one.fold}':<40}{share:>9}{flat:>7}  {order}")
    return lines
