"""The content of a run's report, read from the run's files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.audit.audit import audit
from siamplex.audit.finding import Finding
from siamplex.corpus.index import as_indexed
from siamplex.corpus.synthetic import is_synthetic
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.stage_learning import StageLearning
from siamplex.errors import InputError, SiamplexError
from siamplex.geometry.embedding import Embedding, read_embedding
from siamplex.geometry.report import describe
from siamplex.pairs.build import OpenedStore, open_store
from siamplex.report.thumbnails import Sprite, sprite
from siamplex.run.output_names import ending, without
from siamplex.run.record import check_run, read_record
from siamplex.schema.json_files import read_object
from siamplex.similarity import report as similarity

SPLITS = {"train": "training subjects", "val": "validation subjects", "test": "test subjects"}
JUDGED = ("distances", "confusions", "answers")  # figures of judged pictures
_MOST_LOSSES = 1500  # points of a curve


@dataclass
class Content:
    """Everything on the page; ``missing`` says what the run does not have."""

    name: str
    store: OpenedStore
    snapshots: list[tuple[str, Embedding]]
    losses: list[tuple[str, list[tuple[int, float]]]]
    figures: list[Path]
    maps: list[Path]
    geometry: list[tuple[str, dict[str, Any]]]
    structure: dict[str, Any] | None
    matrices: Path | None
    judged: list[Path]
    learning: list[tuple[str, StageLearning]]
    seeds: str
    multiverse: Path | None
    findings: list[Finding]
    record: list[dict[str, Any]]
    sprite: Sprite | None
    faces: str
    missing: list[str] = field(default_factory=list)


def gather(run: Path, embed_faces: bool, alexnet: Path | None = None) -> Content:
    """Read a run.  Raises InputError where there is no pair store or no embedding to show."""
    check_run(run)
    store = open_store(run / "pairs")
    snapshots = _snapshots(run / "features")
    for name, embedding in snapshots:
        if embedding.images != [e.image for e in store.index.entries]:
            raise InputError(run / "features" / f"{name}.npz", "the images of this run's index", "others")
        if not np.isfinite(embedding.points).all():
            raise InputError(run / "features" / f"{name}.npz", "finite embeddings", "values that are not numbers")
    figures = sorted((run / "figures").glob("*.png"), key=_figure_order)
    last = snapshots[-1][1]
    missing = [] if figures else ["figures (make figures)"]
    losses, learning = [], []
    for stage, label in ((1, "stage 1: conv1-3 frozen"), (2, "stage 2: everything learns")):
        path = run / f"stage{stage}" / "snap_losses.csv"
        if path.exists():
            losses.append((label, _thinned([(row[0], row[1]) for row in read_losses(path)])))
        else:
            missing.append(f"losses of stage {stage}")
        learning.append((label, StageLearning.read(run / f"stage{stage}" / "snap")))
    picture, faces = _faces(store, embed_faces)
    structure, matrices, judged = _structure(run, last)
    seeds = run / "seeds" / "seeds.txt"
    return Content(
        name=run.resolve().name,
        store=store,
        snapshots=[(_title(name), e) for name, e in snapshots],
        losses=losses,
        figures=figures,
        maps=sorted((run / "maps").glob("*.png")),
        geometry=_geometry(snapshots),
        structure=structure,
        matrices=matrices,
        judged=judged,
        learning=learning,
        seeds=seeds.read_text(encoding="utf-8") if seeds.exists() else "",
        multiverse=folder if (folder := run / "multiverse").is_dir() else None,
        findings=audit(run, alexnet),
        record=read_record(run),
        sprite=picture,
        faces=faces,
        missing=missing,
    )


def _snapshots(folder: Path) -> list[tuple[str, Embedding]]:
    """Embeddings in the order of training: stage 1 by iteration, then stage 2."""
    files = sorted(folder.glob("*.npz"), key=lambda p: (not p.stem.startswith("stage1"), _number(p.stem)))
    found = [(p.stem, read_embedding(p)) for p in files]
    flat = [(name, e) for name, e in found if e.points.shape[1] >= 2]
    if not flat:
        raise InputError(folder, "embeddings (siamplex extract)", "none")
    return flat


def _number(stem: str) -> int:
    named = re.search(r"(\d+)$", stem)
    return int(named.group(1)) if named else 0


def _title(stem: str) -> str:
    named = re.fullmatch(r"stage1_iter_(\d+)", stem)
    if named:
        return f"stage 1, {int(named.group(1))} iterations"
    return "stage 2, fine-tuned" if stem == "stage2" else stem


def _figure_order(path: Path) -> tuple[bool, str]:
    return path.stem == "loss", path.stem + ("~" if path.stem == "fig3" else "")


def _thinned(rows: list[tuple[int, float]]) -> list[tuple[int, float]]:
    step = max(1, -(-len(rows) // _MOST_LOSSES))
    return rows[::step] if not rows or rows[-1] in rows[::step] else [*rows[::step], rows[-1]]


def _faces(store: OpenedStore, embed: bool) -> tuple[Sprite | None, str]:
    """Thumbnails, and a sentence about them; photographs only where asked for."""
    # a crafted index may call photographs drawn: only a folder that says so itself, and the files indexed, count
    drawn = all(e.synthetic and is_synthetic(e.path.parent) for e in store.index.entries) and as_indexed(store.index)
    if not drawn and not embed:
        return None, "Faces are not embedded in this page (siamplex report --embed-faces would)."
    made = sprite(store.index)
    if made is None:
        return None, "Faces are not shown: their files are not where the index says."
    return made, "The faces are drawn." if drawn else "Photographs are embedded on request: mind their licence."


def _geometry(snapshots: Sequence[tuple[str, Embedding]]) -> list[tuple[str, dict[str, Any]]]:
    """Geometry of the last snapshot of each stage."""
    last: dict[str, Embedding] = {}
    for name, embedding in snapshots:
        last[name.split("_")[0]] = embedding
    found = []
    for stage, embedding in last.items():
        try:
            found.append(
                (_title(stage) if stage == "stage2" else stage.replace("stage", "stage "), describe(embedding))
            )
        except SiamplexError:
            continue  # no training subjects: nothing to describe
    return found


def _structure(run: Path, embedding: Embedding) -> tuple[dict[str, Any] | None, Path | None, list[Path]]:
    """The similarity structure and its figures: as written for this snapshot, or computed now without layers.

    Figures of judged pictures are taken from beside that file, if it has judgements of pictures.
    """
    for path in sorted((run / "similarity").glob("*.json")):
        try:
            known = read_object(path, "a similarity structure")
            if known["facts"]["sha256"] == embedding.facts.get("sha256") and "parts" in known:
                stem = without(path, ".json")
                figure = ending(stem, ".png")
                spoken = any(part.get("pictures") for part in known["parts"].values())
                judged = [ending(stem, f"_{name}.png") for name in JUDGED] if spoken else []
                return dict(known), figure if figure.exists() else None, [p for p in judged if p.exists()]
        except (InputError, KeyError, TypeError, AttributeError):
            continue
    try:
        return similarity.describe(embedding), None, []
    except SiamplexError:
        return None, None, []
