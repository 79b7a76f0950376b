"""Checks whether a stage learnt, and which snapshot is used for what.  The paper gives no figure for any of this."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles, Stage, same_file
from siamplex.engine.training.stage_learning import StageLearning, active_units, against_blind
from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding, read_embedding
from siamplex.geometry.orders import LINE, centroids, singular_ratio

_BLIND = "label-blind: the same embedding with its images shuffled among the pairs; no dropout in either"
_PARTS = {"train": "training", "val": "validation", "test": "test"}


def check_learning(files: RunFiles, stage: Stage) -> list[Finding]:
    """Losses against label-blind losses, active units, the embedding's shape, and the role of each snapshot."""
    found = Findings(f"learning of stage {stage.number}")
    learnt = StageLearning.read(stage.prefix)
    _losses(found, learnt)
    shown = _shown(files, stage.number)
    _shape(found, shown[1] if shown else None)
    _snapshots(found, stage, learnt, shown)
    return found.made


def _losses(found: Findings, learnt: StageLearning) -> None:
    row = learnt.at_the_result
    if row is None:
        found.unchecked("training loss", "-", "no learning.csv of a siamese net beside the snapshots")
    else:
        found.silent(
            f"training loss at iteration {row.iteration}",
            against_blind(row.training.loss, row.training.label_blind), _BLIND,
        )  # fmt: skip
        if row.validation is not None:
            found.silent(
                f"validation loss at iteration {row.iteration}", against_blind(row.validation, row.validation_blind)
            )
        if row.active:
            why = "the others are dead: zero for every training image"
            found.silent(f"active units at iteration {row.iteration}", active_units(row), why)
    if len(learnt.tests) > 1:
        (first, before), (last, after) = learnt.tests[0], learnt.tests[-1]
        course = "fell" if after < before else "did not fall"
        found.silent("course of the validation loss", f"{course}: {before:.3g} at {first}, {after:.3g} at {last}")


def _shape(found: Findings, embedding: Embedding | None) -> None:
    if embedding is None:
        return
    words = []
    for split, name in _PARTS.items():
        part = embedding.of_split(split)
        centres = centroids(part.points, part.emotions)
        if len(centres) > 2 and part.points.shape[1] > 1:
            ratio = singular_ratio(np.array(list(centres.values())))
            words.append(f"{name} {ratio:.2f}{' (a line)' if ratio < LINE else ''}")
    if words:
        why = (
            "second singular value of the emotions' centroids over the first: 1 for an even circle; "
            f"below {LINE:g} they lie on a line and have no circular order"
        )
        found.silent("how round the emotions lie", ", ".join(words), why)


def _snapshots(found: Findings, stage: Stage, learnt: StageLearning, shown: tuple[Path, Embedding] | None) -> None:
    """The last snapshot, the one of the lowest validation loss, and the one of the figures."""
    last = max(stage.snapshots)
    ended = learnt.ended()
    found.silent("last snapshot", f"iteration {last}", ended)
    if stage.others:
        words = f"{len(stage.others)} in its folder: {', '.join(stage.others[:3])}"
        found.silent("snapshots of another run", words, "their manifests say so; they are left out here")
    if learnt.lowest:
        iteration, loss = learnt.lowest
        kept = "" if iteration in stage.snapshots else ", of which there is no snapshot"
        result = learnt.result.iteration if learnt.result else last
        why = "" if iteration == result else "the paper stopped on the validation set; EARLY_STOP=1 does"
        found.silent("lowest validation loss", f"{loss:.3g} at iteration {iteration}{kept}", why)
    if shown is None:
        return
    path, embedding = shown
    named = re.search(r"_iter_(\d+)\.caffemodel(?:\.h5)?$", str(embedding.facts.get("weights")))
    iteration = int(named.group(1)) if named else -1
    parts = ["last"] if iteration == last else []
    parts += ["lowest validation loss"] if learnt.lowest and iteration == learnt.lowest[0] else []
    parts += ["result"] if learnt.result and iteration == learnt.result.iteration else []
    digest = str(embedding.facts.get("sha256"))
    there = iteration in stage.snapshots and same_file(stage.snapshots[iteration].caffemodel, digest)
    words = f"iteration {iteration} ({', '.join(parts) or 'none of these'})"
    found.silent("snapshot of the figures", words, "" if there else f"{path.name} is of another file than is there now")


def _shown(files: RunFiles, number: int) -> tuple[Path, Embedding] | None:
    """The embedding of a stage that the figures show last."""
    folder = files.run / "features"
    if number == 2:
        paths = [folder / "stage2.npz"]
    else:
        named = ((re.fullmatch(r"stage1_iter_(\d+)", p.stem), p) for p in folder.glob("stage1_iter_*.npz"))
        paths = [p for _, p in sorted(((int(m.group(1)), p) for m, p in named if m), reverse=True)]
    for path in paths[:1]:
        try:
            return path, read_embedding(path)
        except InputError:
            return None
    return None
