"""Saving a run and taking it up again, with the same numbers as if nothing had come between."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from siamplex.durable import discard, sha256
from siamplex.engine import gram_file
from siamplex.engine import snapshot as snapshots
from siamplex.engine.course import Course, Segment, remove, standing
from siamplex.engine.filling import check_filled, load, own_layers
from siamplex.engine.model_files import check_names, write_model
from siamplex.engine.net import Parameter, values
from siamplex.engine.occupied import check_free, refuse_resume
from siamplex.engine.origin import Settings, differences, file_settings, mean_files, net_settings, solver_settings
from siamplex.engine.run_lock import check_not_held
from siamplex.engine.snapshot import Manifest, SnapshotPaths
from siamplex.errors import InputError, TrainingError, UsageError
from siamplex.schema.blobs import Array
from siamplex.schema.bounds import here_or_beside
from siamplex.schema.messages import enum_name
from siamplex.schema.weights import read_caffemodel, read_solverstate, write_solverstate

if TYPE_CHECKING:
    from siamplex.engine.solver import Solver


# what becomes of snapshots that are there already: refused, removed, or written over one by one as Caffe does
REFUSE, REMOVE, AS_CAFFE = "refuse", "remove", "as caffe"


class Checkpoint:
    """Where a run comes from, and its snapshots: written by :meth:`save`, taken up by :meth:`begin`."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._loaded: list[dict[str, str]] = []
        self._held: set[str] = set()  # layers that the files of _loaded fill
        self.unfilled: list[str] = []  # layers that stay as their fillers made them, where that was allowed
        self._note = ""
        p = solver.file.message
        self._hdf5 = enum_name(p, "snapshot_format") == "HDF5"
        if self._hdf5 and solver.prefix and (p.snapshot or p.snapshot_after_train or solver.options.snapshot_at):
            check_names(solver.net)
        self._given = {path: sha256(path) for path in self._weight_files()}
        self._settings = self._read_settings()
        self.course = Course.fresh(self._settings)
        self._first = 0  # the iteration this process begins at
        self._resumed: tuple[Manifest, SnapshotPaths] | None = None

    # --- where a run comes from

    def begin(self) -> None:
        """Load the snapshot to go on from, or the weights to start with.

        Raises InputError, or UsageError where snapshots of another run are in the way.
        """
        solver, options = self._solver, self._solver.options
        if options.snapshot and options.weights:
            raise UsageError("give --snapshot to resume or --weights to fine-tune, not both")
        if solver.prefix and solver.team.leads:
            check_not_held(solver.prefix)
        state = options.snapshot
        if options.resume and not state and solver.prefix:
            state = self._own_newest()
        if state:
            self._restore(state)
        else:
            self._load_given()
        self._first = solver.iteration
        self._check_filled()
        if solver.prefix and options.existing == REFUSE:
            check_free(solver.prefix, self.course, solver.iteration, goes_on=state is not None)

    def _check_filled(self) -> None:
        """Refuse layers that never learn and that neither weights nor a snapshot filled.  Raises PrototxtError."""
        solver, options = self._solver, self._solver.options
        found = check_filled(
            solver.net, solver.test_nets, self.given, options.allow_unfilled, options.unfilled_option, solver.say
        )
        before = self._resumed[0].unfilled if self._resumed else []
        self.unfilled = [*before, *(name for name in found if name not in before)]

    def _own_newest(self) -> Path | None:
        """The solverstate of the newest whole snapshot, if any.

        One of another run is passed over where it is to be removed; else UsageError is raised.
        """
        newest = snapshots.latest_whole(self._solver.prefix)
        if newest is None:
            return None
        there = Manifest.read(newest.manifest).course
        if not there.settings or differences(there.settings, self._settings):
            if self._solver.options.existing == REMOVE:
                return None
            raise refuse_resume(self._solver.prefix, newest, self.course)
        return newest.solverstate

    def clear_the_prefix(self) -> None:
        """Where that was asked for, remove snapshots of other runs, and all behind the first iteration to come."""
        solver = self._solver
        if solver.options.existing != REMOVE:
            return
        mine = set(snapshots.own(solver.prefix, self.course)) if self._first else set()
        gone = [n for n in standing(solver.prefix) if n > self._first or n not in mine]
        if gone:
            solver.say(f"--overwrite: removing snapshots of {len(gone)} iterations under {solver.prefix}")
        remove(solver.prefix, gone)

    @property
    def given(self) -> list[Path]:
        """The files that arrays were loaded from, or could have been."""
        started = [Path(started["path"]) for started in self._loaded]
        return [*(started or self._weight_files()), *([self._resumed[1].caffemodel] if self._resumed else [])]

    def _weight_files(self) -> tuple[Path, ...]:
        return self._solver.options.weights or self._solver.file.weight_files()

    def _read_settings(self) -> Settings:
        """All that shapes this run; how long it goes on and what it displays does not."""
        solver = self._solver
        found = {"seed": str(solver.seed)} if solver.seed_is_given else {}
        if solver.options.amp:
            found["arithmetic"] = "bfloat16"
        found |= solver_settings(solver.file.message)
        train, *tests = solver.net_sources
        found |= net_settings(train.message) | mean_files(train.message, train.source.find)
        for number, test in enumerate(tests):
            if test.message is not train.message and test.message != train.message:
                found |= net_settings(test.message, f"test net {number}: ")
        records = {key: layer.source.fingerprint() for key, layer in solver.data_layers()}
        return found | file_settings([(p, self._given[p]) for p in self._weight_files()], records)

    def _load_given(self) -> None:
        for path in self._weight_files():
            self._load_weights(path, self._given[path])

    def _load_weights(self, path: Path, digest: str) -> None:
        net = self._solver.net
        layers = read_caffemodel(path)
        filled = load(net, self._solver.test_nets, layers, path)
        self._held.update(filled)
        self._loaded.append({"path": str(path), "sha256": digest, **self._beside(path)})
        self._note = self._note or snapshots.note_of(path)
        if not filled:
            raise InputError(path, f"layers of net '{net.name}'", "none of them")
        self._solver.say(f"weights from {path}: {', '.join(filled)}")

    def _beside(self, path: Path) -> dict[str, str]:
        """Where a file lies from the snapshots' folder, so that a moved run finds it."""
        if not self._solver.prefix:
            return {}
        folder = Path(self._solver.prefix).parent.resolve()
        try:
            return {"beside": os.path.relpath(path.resolve(), folder)}
        except ValueError:  # another drive
            return {}

    # --- saving

    def save(self, stopping: bool = False) -> SnapshotPaths:
        """Write caffemodel, solverstate and manifest for the current iteration.

        ``stopping`` says that an uninterrupted run would have no snapshot here: Gram forms are then
        kept as they are too.  Raises TrainingError where weights are not finite any more.
        """
        solver = self._solver
        if not solver.prefix:
            raise solver.file.source.error("snapshot_prefix is missing")
        paths = SnapshotPaths.of(solver.prefix, solver.iteration, self._hdf5)
        if not solver.team.leads:
            if solver.shortcut:
                solver.shortcut.settle()
            solver.team.wait()
            return paths
        solver.watcher.saving(paths)
        discard(paths.manifest)  # it may vouch for an earlier run's files
        gram = None
        if solver.shortcut:
            if stopping and solver.shortcut.grams:
                gram = snapshots.entry(paths.gram, gram_file.write(paths.gram, solver.shortcut.grams))
            solver.shortcut.settle()
        for parameter in solver.net.parameters:
            if parameter.lr_mult and not bool(torch.isfinite(parameter.tensor).all()):
                raise TrainingError(solver.diverged(None, parameter.label))
        left_out = self._left_out()
        updates = self._update_of if solver.file.message.snapshot_diff else None
        model = write_model(paths.caffemodel, solver.net, left_out, updates, self._hdf5)
        state = write_solverstate(
            paths.solverstate,
            solver.iteration,
            str(paths.caffemodel),
            self._histories(left_out),
            solver.rate.current_step,
            self._hdf5,
        )
        Manifest(
            iteration=solver.iteration,
            seed=solver.seed,
            caffemodel=snapshots.entry(paths.caffemodel, model),
            solverstate=snapshots.entry(paths.solverstate, state),
            cursors={key: layer.source.position for key, layer in solver.data_layers()},
            weights=self._loaded,
            segments=self.course.up_to(solver.iteration).as_json(),
            note=self._note,
            lean=bool(left_out),
            unfilled=self.unfilled,
            growths=[list(growth) for growth in solver.shortcut.growths] if solver.shortcut else [],
            in_full=solver.in_full,
            gram=gram,
            shown=solver.mean.state(),
            tested=solver.tested_at == solver.iteration,
        ).write(paths.manifest)
        self._drop_old_states()
        solver.team.wait()
        return paths

    def _update_of(self, parameter: Parameter) -> Array:
        """What the last update took from a parameter."""
        index = next(i for i, one in enumerate(self._solver.sgd.parameters) if one is parameter)
        return values(self._solver.sgd.last_update(index))

    def _left_out(self) -> set[str]:
        """Frozen Embed tables that a lean snapshot need not repeat."""
        if not self._solver.options.lean or not self._loaded:
            return set()
        return {
            node.name
            for node in self._solver.net.nodes
            if node.layer.spec.type == "Embed" and all(p.lr_mult == 0 and p.layer in self._held for p in node.params)
        }

    def _histories(self, left_out: set[str]) -> Iterator[Array]:
        sgd = self._solver.sgd
        for index, parameter in enumerate(sgd.parameters * sgd.kept):
            if parameter.layer in left_out:
                yield np.empty(0, np.float32)
            else:
                yield values(sgd.history(index))

    def _drop_old_states(self) -> None:
        solver, keep = self._solver, self._solver.options.keep_states
        mine = snapshots.own(solver.prefix, self.course)
        for iteration in (n for n in mine if n < solver.iteration):  # nothing resumes from there bit for bit any more
            discard(SnapshotPaths.of(solver.prefix, iteration).gram)
        if keep:
            for iteration in [n for n in mine if n <= solver.iteration][:-keep]:
                discard(SnapshotPaths.of(solver.prefix, iteration).solverstate)

    # --- taking up again

    def _restore(self, path: Path) -> None:
        solver = self._solver
        paths = SnapshotPaths.beside(path)
        state = read_solverstate(path)
        own = paths.manifest.exists()
        if own:
            manifest = snapshots.verify(paths)
            self._note = manifest.note
            needed = manifest.lean or any(own_layers(test, solver.net) for test in solver.test_nets)
            for started in manifest.weights if needed else ():
                self._load_weights(self._find_started(started, paths), started["sha256"])
            self._loaded = manifest.weights
            self.course = manifest.course.going_on(manifest.iteration, self._settings)
            self._resumed = manifest, paths
            model = paths.caffemodel
            solver.seed = self._check_seed(paths.manifest, manifest.seed)
            self._seek(manifest)
            solver.in_full = manifest.in_full
            solver.tested_at = manifest.iteration if manifest.tested else None
        else:  # real Caffe's: data are read from the beginning, as Caffe would
            solver.say(f"{path} has no manifest: resuming as Caffe does, from the first record")
            model = self._model_of(path, state.learned_net) if state.learned_net else paths.caffemodel
            self._load_given()
            self.course = Course((Segment(0, state.iteration, {}), Segment(state.iteration, None, self._settings)))
        solver.net.load(read_caffemodel(model), model, own)
        self._restore_history(path, state.history)
        solver.iteration = state.iteration
        solver.rate.current_step = state.current_step
        solver.say(f"resumed from {path} at iteration {solver.iteration}")

    def _find_started(self, started: dict[str, str], paths: SnapshotPaths) -> Path:
        """Weights a lean snapshot builds on: as given now, by their place beside it, or where they were.

        Raises InputError where none of these has their content.
        """
        digest = started["sha256"]
        known = [path for path, found in self._given.items() if found == digest]
        beside = [paths.manifest.parent / started["beside"]] if started.get("beside") else []
        for path in [*known, *beside, Path(started["path"])]:
            if path in known or (path.is_file() and sha256(path) == digest):
                if path not in known:
                    self._solver.file.source.bounds.check(path, paths.manifest)
                return path
        raise InputError(
            paths.manifest, f"{started['path']}, the weights this run started from (--weights names them)",
            "other bytes" if Path(started["path"]).exists() else "nothing there",
        )  # fmt: skip

    def _model_of(self, path: Path, named: str) -> Path:
        """The caffemodel a solverstate names: of the working folder as in Caffe, or else beside it."""
        beside = path.parent / Path(named).name
        found = here_or_beside(named, beside, path)
        if found != beside:
            self._solver.file.source.bounds.check(found, path)
        return found

    def _seek(self, manifest: Manifest) -> None:
        for key, layer in self._solver.data_layers():
            layer.source.seek(manifest.cursors.get(key, 0))

    def retrace(self) -> None:
        """With its shortcut taken again, bring a resumed run to the very state it was saved in."""
        solver = self._solver
        if self._resumed is None or not solver.shortcut:
            return
        manifest, paths = self._resumed
        try:
            solver.shortcut.replay(manifest.growths)
        except (KeyError, IndexError, TypeError, ValueError):
            raise InputError(paths.manifest, "the batches that brought new images", "others") from None
        self._seek(manifest)
        if manifest.gram:
            if snapshots.is_as_said(paths.gram, manifest.gram):
                gram_file.read(paths.gram, solver.shortcut.grams)
            else:
                solver.say(f"{paths.gram} is gone: the last bits may differ from those of an unbroken run")

    def resume_mean(self) -> bool:
        """Take up the running mean of losses; False where there is none to take up."""
        try:
            return bool(self._resumed and self._solver.mean.restore(self._resumed[0].shown))
        except (KeyError, TypeError, ValueError):
            return False

    def _check_seed(self, path: Path, seed: int) -> int:
        options = self._solver.options
        asked = options.seed if options.seed is not None else self._solver.file.message.random_seed
        if asked >= 0 and asked != seed:
            raise InputError(path, f"a run of seed {asked}", f"seed {seed}")
        return seed

    def _restore_history(self, path: Path, history: Sequence[Array]) -> None:
        sgd = self._solver.sgd
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
            self._solver.sgd.set_history(index, tensor.to(self._solver.device))
