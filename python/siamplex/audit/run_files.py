"""Finds the files of a run: pair store, and each stage's solver, net, weights and snapshots."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamplex.engine.training.course import standing
from siamplex.engine.training.result import Result
from siamplex.engine.training.snapshot import Manifest, SnapshotPaths, own
from siamplex.pairs.build import OpenedStore, open_store
from siamplex.run.durable import sha256
from siamplex.run.record import check_run, read_record
from siamplex.schema import prototxt
from siamplex.schema.prototxt import Prototxt


@dataclass
class Stage:
    """One stage that was trained: its solver and net as they are now, its snapshots by iteration.

    ``others`` are snapshots in its folder that belong to another run.
    """

    number: int
    folder: Path
    solver: Prototxt
    net: Prototxt
    snapshots: dict[int, SnapshotPaths] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def last(self) -> SnapshotPaths:
        """Files of the newest snapshot."""
        return self.snapshots[max(self.snapshots)]

    @property
    def prefix(self) -> str:
        """The snapshots' prefix."""
        return str(self.last.manifest).removesuffix(f"_iter_{max(self.snapshots)}.json")

    @property
    def result(self) -> SnapshotPaths:
        """Files of the stage's resulting snapshot: the last, or with early stopping the best."""
        found = Result.read(self.prefix)
        return self.snapshots.get(found.iteration, self.last) if found else self.last

    @property
    def manifest(self) -> Manifest | None:
        """The newest snapshot's manifest; a real Caffe writes none."""
        return Manifest.read(self.last.manifest) if self.last.manifest.exists() else None


class RunFiles:
    """The files of a run folder.  Raises InputError where there is no pair store."""

    def __init__(self, run: Path) -> None:
        check_run(run)
        self.run = run
        self.pairs = run / "pairs"
        self.record = read_record(run)
        self.store: OpenedStore = open_store(self.pairs)
        found = (self._stage(number) for number in (1, 2))
        self.stages = {stage.number: stage for stage in found if stage}
        self.initial = run / "weights" / "init.caffemodel"

    def lmdb(self, split: str) -> Path:
        """The LMDB of a split."""
        return self.pairs / str(self.store.store.lmdbs[split]["path"])

    @property
    def layout(self) -> str:
        """Layout of the pairs: indexed or stacked."""
        return str(self.store.store.options["layout"])

    def _stage(self, number: int) -> Stage | None:
        folder = self.run / f"stage{number}"
        snapshots, others = {}, []
        for prefix in _prefixes(folder):
            mine = set(own(prefix))
            for iteration in standing(prefix):
                paths = SnapshotPaths.of(prefix, iteration)
                if iteration in mine and paths.caffemodel.exists():
                    snapshots[iteration] = paths
                elif iteration not in mine:
                    others.append(paths.caffemodel.name)
        if not snapshots:
            return None
        solver = prototxt.read(self._solver(number), "SolverParameter")
        net = prototxt.read(self._named(str(solver.message.net), solver.path), "NetParameter")
        return Stage(number, folder, solver, net, snapshots, others)

    def _solver(self, number: int) -> Path:
        """The solver that trained a stage: as recorded, or where the layout of a run has it."""
        name = f"stage{number}_{self.layout}.prototxt"
        given = str(self.training(number).get("options", {}).get("solver", ""))
        if given:
            return self._named(given, self.run / "solvers" / name)
        own = self.run / "solvers" / name
        return own if own.exists() else Path("solvers") / name

    def _named(self, name: str, beside: Path) -> Path:
        """A path of the folder the run was made in, from here: as it is, or by its place in the run."""
        path = Path(name)
        parts = path.parts
        for start in range(len(parts)):
            inside = self.run.joinpath(*parts[start:])
            if inside.exists():
                return inside
        here = Path.cwd() in path.absolute().resolve().parents  # a run may come from anybody: no further
        return path if here and path.exists() else beside.parent / path.name

    def started_from(self, stage: Stage) -> list[tuple[Path, str]]:
        """Weights a stage started from, by its manifest: (path here, SHA-256 it had)."""
        manifest = stage.manifest
        if not manifest:
            return []
        return [(self._named(w["path"], self.initial), w["sha256"]) for w in manifest.weights]

    def given(self, stage: Stage) -> list[tuple[Path, str]]:
        """Weights a stage started from, by its manifest or else by the record: (path here, SHA-256 or nothing)."""
        recorded = self.training(stage.number).get("options", {}).get("weights", [])
        names = [name for name in recorded if isinstance(name, str)] if isinstance(recorded, list) else []
        return self.started_from(stage) or [(self._named(name, self.initial), "") for name in names]

    def training(self, number: int) -> dict[str, Any]:
        """The newest entry of a stage's training in the record, known by its solver; or nothing."""
        for step in reversed(self.record):
            solver = Path(str(step.get("options", {}).get("solver", "")))
            if step.get("command") == "train" and f"stage{number}" in solver.name:
                return step
        return {}


def _prefixes(folder: Path) -> list[str]:
    """Prefixes of the snapshots in a stage's folder."""
    if not folder.is_dir():
        return []
    found = {
        str(folder / m.group(1))
        for f in folder.iterdir()
        if (m := re.match(r"(.+)_iter_\d+\.caffemodel(?:\.h5)?$", f.name))
    }
    return sorted(found)


def same_file(path: Path, digest: str) -> bool:
    """Whether a file is there and has this SHA-256."""
    return path.is_file() and sha256(path) == digest
