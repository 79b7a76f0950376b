"""Resuming from a checkpoint: the run continues with the same numbers as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from siamplex.engine.net.carrying import from_text
from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.course import Course, Segment
from siamplex.engine.training.filling import own_layers
from siamplex.engine.training.snapshot import Manifest, SnapshotPaths
from siamplex.errors import InputError
from siamplex.run.durable import sha256
from siamplex.schema.blobs import Array
from siamplex.schema.bounds import here_or_beside
from siamplex.schema.weights import read_caffemodel, read_solverstate

if TYPE_CHECKING:
    from siamplex.engine.training.solver import Solver
    from siamplex.engine.training.start import Start


def restore(solver: Solver, start: Start, path: Path) -> tuple[Manifest, SnapshotPaths] | None:
    """Load the snapshot of a solverstate; returns its manifest and files, None for a snapshot of real Caffe.

    Raises InputError where it is not whole, or does not fit the run.
    """
    resumed = None
    paths = SnapshotPaths.beside(path)
    state = read_solverstate(path)
    own = paths.manifest.exists()
    if own:
        manifest = snapshots.verify(paths)
        start.note = manifest.note
        needed = manifest.lean or any(own_layers(test, solver.net) for test in solver.test_nets)
        for started in manifest.weights if needed else ():
            start.load_weights(_find_started(solver, start, started, paths), started["sha256"])
        start.loaded = manifest.weights
        start.course = manifest.course.going_on(manifest.iteration, start.settings)
        resumed = manifest, paths
        model = paths.caffemodel
        solver.seed = _check_seed(solver, paths.manifest, manifest.seed)
        _seek(solver, manifest)
        _carry(solver, manifest, paths.manifest)
        solver.in_full = manifest.in_full
        solver.tested_at = manifest.iteration if manifest.tested else None
    else:  # a snapshot of real Caffe: data are read from the beginning, as Caffe would
        solver.say(f"{path} has no manifest: resuming as Caffe does, from the first record")
        model = _model_of(solver, path, state.learned_net) if state.learned_net else paths.caffemodel
        start.load_given()
        bare = Segment(0, state.iteration, {}, manifests=False)
        start.course = Course((bare, Segment(state.iteration, None, start.settings)))
    solver.net.load(read_caffemodel(model), model, own)
    _restore_history(solver, path, state.history)
    solver.iteration = state.iteration
    solver.rate.current_step = state.current_step
    solver.say(f"resumed from {path} at iteration {solver.iteration}")
    return resumed


def _find_started(solver: Solver, start: Start, started: dict[str, str], paths: SnapshotPaths) -> Path:
    """The weights file that a lean snapshot needs: as given now, by its place beside the snapshot, or where it was.

    Raises InputError where none of these has the recorded content.
    """
    digest = started["sha256"]
    known = [path for path, found in start.hashes.items() if found == digest]
    beside = [paths.manifest.parent / started["beside"]] if started.get("beside") else []
    for path in [*known, *beside, Path(started["path"])]:
        if path in known or (path.is_file() and sha256(path) == digest):
            if path not in known:
                solver.file.source.bounds.check(path, paths.manifest)
            return path
    raise InputError(
        paths.manifest, f"{started['path']}, the weights this run started from (--weights names them)",
        "other bytes" if Path(started["path"]).exists() else "nothing there",
    )  # fmt: skip


def _model_of(solver: Solver, path: Path, named: str) -> Path:
    """The caffemodel that a solverstate names: in the working folder as in Caffe, or else beside the solverstate."""
    beside = path.parent / Path(named).name
    found = here_or_beside(named, beside, path)
    if found != beside:
        solver.file.source.bounds.check(found, path)
    return found


def _seek(solver: Solver, manifest: Manifest) -> None:
    for key, layer in solver.data_layers():
        layer.source.seek(manifest.cursors.get(key, 0))


def _carry(solver: Solver, manifest: Manifest, path: Path) -> None:
    """Let layers carry what they carried when the snapshot was taken; real Caffe's snapshots do not hold it."""
    for key, layer in solver.carrying_layers():
        try:
            values = from_text(manifest.carried.get(key, ()), len(layer.states))
        except ValueError as error:
            raise InputError(path, f"what layer {key} carries from pass to pass", str(error)) from None
        layer.carried = [value.to(solver.device) for value in values]


def replay(solver: Solver) -> None:
    """After the plan is made, replay its table growth log and restore the dual forms.  Raises InputError."""
    if solver.start.resumed is None or not solver.plan:
        return
    manifest, paths = solver.start.resumed
    try:
        solver.plan.replay(manifest.growths)
    except (KeyError, IndexError, TypeError, ValueError):
        raise InputError(paths.manifest, "the batches that brought new images", "others") from None
    _seek(solver, manifest)
    if manifest.gram:
        if snapshots.is_as_said(paths.gram, manifest.gram):
            solver.plan.read_state(paths.gram)
        else:
            solver.say(f"{paths.gram} is gone: the last bits may differ from those of an unbroken run")


def resume_mean(solver: Solver) -> bool:
    """Restore the running mean of losses; False where the snapshot has none."""
    resumed = solver.start.resumed
    try:
        return bool(resumed and solver.mean.restore(resumed[0].shown))
    except (KeyError, TypeError, ValueError):
        return False


def _check_seed(solver: Solver, path: Path, seed: int) -> int:
    options = solver.options
    asked = options.seed if options.seed is not None else solver.file.message.random_seed
    if asked >= 0 and asked != seed:
        raise InputError(path, f"a run of seed {asked}", f"seed {seed}")
    return seed


def _restore_history(solver: Solver, path: Path, history: Sequence[Array]) -> None:
    sgd = solver.sgd
    parameters = sgd.parameters * sgd.kept
    if len(history) != len(parameters):
        raise InputError(path, f"{len(parameters)} arrays of history for {sgd.kind}", f"{len(history)}")
    for index, (parameter, array) in enumerate(zip(parameters, history, strict=True)):
        if array.size == 0 and parameter.lr_mult == 0:
            continue  # a lean snapshot's frozen table
        if array.size != parameter.tensor.numel():
            raise InputError(
                path,
                f"momentum of {tuple(parameter.tensor.shape)} for {parameter.label}",
                f"{tuple(array.shape)}",
            )
        tensor = torch.from_numpy(np.array(array)).reshape(parameter.tensor.shape)
        solver.sgd.set_history(index, tensor.to(solver.device))
