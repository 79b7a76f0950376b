"""The start of a run: it loads weights files or a snapshot, records the settings, and takes the snapshot prefix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.course import Course, remove, standing
from siamplex.engine.training.filling import check_filled, load
from siamplex.engine.training.occupied import REFUSE, REMOVE, check_free, refuse_resume
from siamplex.engine.training.origin import (
    Settings,
    differences,
    file_settings,
    mean_files,
    net_settings,
    solver_settings,
)
from siamplex.engine.training.result import path_of
from siamplex.engine.training.resumption import restore
from siamplex.engine.training.run_lock import check_not_held
from siamplex.engine.training.snapshot import Manifest, SnapshotPaths
from siamplex.errors import InputError, UsageError
from siamplex.run.durable import discard, sha256
from siamplex.schema.weights import read_caffemodel

if TYPE_CHECKING:
    from siamplex.engine.training.solver import Solver


class Start:
    """The start of one run, and the record of it that goes into snapshots.

    ``course`` says which iterations were computed with which settings.  ``loaded`` are the weights files that the run
    started from, with hashes and their paths relative to the snapshots; ``held`` are the layers that they fill.
    ``unfilled`` are frozen layers that keep their fillers' values, where that was allowed.  ``note`` describes the
    origin of the weights.  ``resumed`` is the snapshot that the run resumes from.
    """

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self.loaded: list[dict[str, str]] = []
        self.held: set[str] = set()
        self.unfilled: list[str] = []
        self.note = ""
        self.hashes = {path: sha256(path) for path in self._weight_files()}
        self.settings = self._read_settings()
        self.course = Course.fresh(self.settings)
        self._first = 0  # the iteration this process begins at
        self.resumed: tuple[Manifest, SnapshotPaths] | None = None

    def begin(self) -> None:
        """Load the snapshot to resume from, or the weights to start with.

        Raises InputError, or UsageError where snapshots of another run are in the way.
        """
        solver, options = self._solver, self._solver.options
        if options.snapshot and options.weights:
            raise UsageError("give --snapshot to resume or --weights to fine-tune, not both")
        if solver.prefix and solver.group.is_rank_zero:
            check_not_held(solver.prefix)
        state = options.snapshot
        if options.resume and not state and solver.prefix:
            state = self._own_newest()
        if state:
            self.resumed = restore(solver, self, state)
        else:
            self.load_given()
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
        before = self.resumed[0].unfilled if self.resumed else []
        self.unfilled = [*before, *(name for name in found if name not in before)]

    def _own_newest(self) -> Path | None:
        """The solverstate of the newest complete snapshot, if any.

        A snapshot of another run is ignored where it is to be removed; otherwise UsageError is raised.
        """
        newest = snapshots.latest_whole(self._solver.prefix)
        if newest is None:
            return None
        there = Manifest.read(newest.manifest).course
        if not there.settings or differences(there.settings, self.settings):
            if self._solver.options.existing == REMOVE:
                return None
            raise refuse_resume(self._solver.prefix, newest, self.course)
        return newest.solverstate

    def take_the_prefix(self) -> None:
        """Write the course of the run, remove an earlier result, and clear the prefix where asked."""
        self._clear_the_prefix()
        discard(path_of(self._solver.prefix))  # an unfinished run has no result
        self.course.write(self._solver.prefix)

    def _clear_the_prefix(self) -> None:
        """Where asked, remove snapshots of other runs, and all snapshots after the iteration that the run starts at."""
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
        """The files that arrays were loaded from, or could have been loaded from."""
        started = [Path(started["path"]) for started in self.loaded]
        return [*(started or self._weight_files()), *([self.resumed[1].caffemodel] if self.resumed else [])]

    def _weight_files(self) -> tuple[Path, ...]:
        return self._solver.options.weights or self._solver.file.weight_files()

    def _read_settings(self) -> Settings:
        """All settings that determine the run's numbers (:mod:`~siamplex.engine.training.origin`)."""
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
        return found | file_settings([(p, self.hashes[p]) for p in self._weight_files()], records)

    def load_given(self) -> None:
        for path in self._weight_files():
            self.load_weights(path, self.hashes[path])

    def load_weights(self, path: Path, digest: str) -> None:
        net = self._solver.net
        layers = read_caffemodel(path)
        filled = load(net, self._solver.test_nets, layers, path)
        self.held.update(filled)
        self.loaded.append({"path": str(path), "sha256": digest, **self._beside(path)})
        self.note = self.note or snapshots.note_of(path)
        if not filled:
            raise InputError(path, f"layers of net '{net.name}'", "none of them")
        self._solver.say(f"weights from {path}: {', '.join(filled)}")

    def _beside(self, path: Path) -> dict[str, str]:
        """A file's path relative to the snapshots' folder, so that a moved run finds it."""
        if not self._solver.prefix:
            return {}
        folder = Path(self._solver.prefix).parent.resolve()
        try:
            return {"beside": os.path.relpath(path.resolve(), folder)}
        except ValueError:  # another drive
            return {}
