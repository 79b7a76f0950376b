"""Running a multiverse: choosing trainings, preparing features, starting workers, resuming."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from siamplex.engine.training.run_lock import run_lock
from siamplex.errors import InputError, Stopped, TrainingError, UsageError
from siamplex.multiverse import estimate, features, store, workers
from siamplex.multiverse.check import check
from siamplex.multiverse.features import Prefix, Source
from siamplex.multiverse.grid import Training, read
from siamplex.multiverse.jobs import Jobs
from siamplex.multiverse.run_nets import common, read_run
from siamplex.multiverse.sampling import sample, sequence
from siamplex.multiverse.training import Job, Result
from siamplex.run.durable import free_bytes, hash_bytes, require_room, write_text
from siamplex.run.progress import Progress, say
from siamplex.schema.json_files import read_object

_ORIGIN = "origin.json"
_PLENTY = 3  # times the trainings that would fit into some hours if all were the quickest: many diverge at once


@dataclass(frozen=True)
class Request:
    """What is requested: at most one of ``cells``, ``hours`` and ``full``; with none of them, the grid's own number.

    ``cells`` counts ordinary trainings.  ``scheduler`` is the address of a Dask cluster; None: ``processes`` of this
    machine.  For a cluster, ``processes`` is the number of workers assumed in estimates of time.  ``alexnet`` is the
    file of conv1-3; None: the substitute.
    """

    run: Path
    grid: Path
    cells: int | None = None
    hours: float | None = None
    full: bool = False
    processes: int = 1
    scheduler: str | None = None
    alexnet: Path | None = None
    accept_other: bool = False


@dataclass(frozen=True)
class Done:
    """What was done: trainings of this call, cells there are now, and how many of those diverged."""

    trainings: int
    cells: int
    diverged: int
    seconds: float


class Multiverse:
    """A run with its grid, checked.  Raises InputError, PrototxtError or UsageError before anything is computed."""

    def __init__(self, request: Request) -> None:
        self.request, self.folder = request, request.run / "multiverse"
        if sum((request.cells is not None, request.hours is not None, request.full)) > 1:
            raise UsageError("give --cells, --hours or --full, not several of them")
        if request.cells is not None and request.cells < 1:
            raise UsageError(f"--cells: expected at least 1, found {request.cells}")
        if request.hours is not None and not request.hours > 0:
            raise UsageError(f"--hours: expected more than 0, found {request.hours:g}")
        if request.processes < 1:
            raise UsageError(f"--workers: expected at least 1, found {request.processes}")
        self.nets, opened = read_run(request.run)
        self.grid = read(request.grid, self.nets.own)
        check(self.grid, self.nets, opened)
        self._source = Source(self.nets, opened, request.run / "pairs", request.alexnet, request.accept_other)
        self._facts = self._source.facts()
        # a fixed folder, so that files left by killed workers are found again; other machines have no such folder
        self._scratch = None if request.scheduler else (self.folder / "scratch").resolve()
        self.jobs = Jobs(request.run, self._source, self.grid, str(self._facts["note"]), self._scratch)
        self._known = store.names(request.run)
        self._pace = estimate.Pace()
        self._check_origin()

    def _check_origin(self) -> None:
        """Refuse to continue where the existing cells have other faces, nets or weights."""
        path = self.folder / _ORIGIN
        if not path.exists():
            if self._known:
                raise InputError(self.folder, f"{_ORIGIN} beside the cells", "none: whose cells they are is not known")
            return
        there, mine = read_object(path, "the origin of a multiverse's cells"), self._origin()
        differing = sorted(name for name in {*there, *mine} if there.get(name) != mine.get(name))
        if differing:
            what = "cells of this run's faces, nets and weights (move the folder away to begin anew)"
            raise InputError(self.folder, what, f"those of others: {', '.join(differing)} changed")

    def _origin(self) -> dict[str, Any]:
        """What all cells have in common; of long lists a hash."""
        told = common(self.nets, self._source.store) | {"folds": self.grid.folds, "conv1-3": self._facts["digest"]}
        told["images"] = hash_bytes(json.dumps(told["images"]).encode())
        return told

    # --- which trainings

    def chosen(self) -> list[Training]:
        """The requested trainings in order, finished ones included; with ``hours`` more than will fit."""
        request, count = self.request, self.request.cells or self.grid.cells
        if request.full:
            count = self.grid.size
        elif request.hours is not None:
            least = min(self._pace.of(self._work(training)) for training in islice(sequence(self.grid), 12))
            count = len(self._known) + 1 + int(_PLENTY * request.hours * 3600 * request.processes / least)
        found = sample(self.grid, min(count, self.grid.size))
        return sorted(found, key=lambda training: training.control != store.UNTRAINED)

    def is_done(self, training: Training) -> bool:
        """Whether all cells of a training are there."""
        return all(cell.id in self._known for cell in self.jobs.cells(training))

    def _work(self, training: Training) -> estimate.Work:
        return estimate.work_of(training, self.grid, self.nets, self.jobs)

    # --- doing them

    def run(self) -> Done:
        """Do the remaining trainings; finished cells are kept, whatever ends this.  Raises SiamplexError."""
        start = time.monotonic()
        with run_lock(str(self.folder / "cells")):
            self._known = store.names(self.request.run)
            left = [training for training in self.chosen() if not self.is_done(training)]
            wanted = self._wanted(left)
            self._say_before(left, wanted)
            write_text(self.folder / _ORIGIN, json.dumps(self._origin(), indent=1) + "\n")
            write_text(self.folder / "grid.toml", self.grid.text)
            features.prepare(self.request.run, self._source, wanted)
            try:
                self._clear_scratch()
                if self._scratch:
                    self._scratch.mkdir(parents=True)
                trainings = self._do(left, start)
            except (KeyboardInterrupt, Stopped):
                say(f"multiverse: {len(self._known)} cells are there; the same command goes on from them")
                raise
            finally:
                self._clear_scratch()
        there = store.read(self.request.run)
        diverged = sum(cell.learning.diverged for cell in there)
        return Done(trainings, len(there), diverged, time.monotonic() - start)

    def _clear_scratch(self) -> None:
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _wanted(self, trainings: Sequence[Training]) -> dict[Prefix, set[int]]:
        """Prefixes of trainings, with the seeds that each needs."""
        found: dict[Prefix, set[int]] = {}
        for training in trainings:
            found.setdefault(Prefix.of(training.settings), set()).add(training.seed)
        return found

    def _say_before(self, left: Sequence[Training], wanted: dict[Prefix, set[int]]) -> None:
        grid, request = self.grid, self.request
        say(
            f"multiverse: a grid of {grid.size:,} trainings, each read off at {len(grid.views)} cells; "
            f"{len(self._known)} cells there already"
        )
        shuffled = sum(t.control == store.SHUFFLED for t in left)
        none = sum(t.control == store.UNTRAINED for t in left)
        ordinary = len(left) - shuffled - none
        what = f"{ordinary} trainings, {shuffled} on shuffled labels, {none} towers that are not trained"
        if request.hours is not None:
            say(f"time: {request.hours:g} h; how many of {what} fit is said when the first are done")
        else:
            say(f"to do: {what}")
            seconds = sum(self._pace.of(self._work(training)) for training in left)
            say(
                f"time: at most about {_span(seconds / request.processes)} with {request.processes} at a time on free "
                "cores; those that must diverge cost nothing"
            )
        needed = estimate.disk(left, wanted, grid, self.nets)
        require_room(self.folder, int(needed), "the cells of this multiverse and the features they need")
        count = 0 if request.scheduler else request.processes
        memory = _bytes(estimate.memory(wanted, self.nets, count))
        say(f"disk: at most {_bytes(needed)} of {_bytes(free_bytes(self.folder))} free; memory: {memory}")

    def _do(self, left: Sequence[Training], start: float) -> int:
        hours = self.request.hours
        until = float("inf") if hours is None else start + hours * 3600
        progress = Progress("multiverse", len(left))
        count = 0
        for result in self._results(map(self.jobs.job, self._in_time(left, until))):
            was_measured = self._pace.is_measured
            progress.step(note=self._keep(result))
            count += 1
            if hours is not None and self._pace.is_measured and not was_measured:
                fit = count + self._fitting(left[count:], until)
                say(f"time: about {fit} trainings fit into {hours:g} h, more where some diverge; {count} are done")
        progress.close(f"{count} trainings")
        return count

    def _in_time(self, trainings: Sequence[Training], until: float) -> Iterator[Training]:
        """Trainings in order, until the next one, behind one that a worker is at, would end too late."""
        for training in trainings:
            if time.monotonic() + 2 * self._pace.of(self._work(training)) > until:
                return
            yield training

    def _fitting(self, trainings: Sequence[Training], until: float) -> int:
        """How many of the next trainings are likely to end in time, if none of them diverges."""
        ends = time.monotonic()
        for count, training in enumerate(trainings):
            ends += self._pace.of(self._work(training)) / self.request.processes
            if ends > until:
                return count
        return len(trainings)

    def _results(self, jobs: Iterator[Job]) -> Iterator[Result]:
        if self.request.scheduler:
            return workers.run_on_cluster(jobs, self.request.scheduler)
        return workers.run_here(jobs, self.request.processes)

    def _keep(self, result: Result) -> str:
        """Store a result's cells; a word for the progress."""
        if result.refused:
            raise TrainingError(f"training {result.training.id}: {result.refused}")
        diverged = self.jobs.store(result)
        self._known.update(cell.id for cell in self.jobs.cells(result.training))
        if not diverged and result.training.control != store.UNTRAINED:
            self._pace.done(self._work(result.training), result.seconds)
        what = result.training.control or ("diverged" if diverged else "trained")
        return f"{what}, {result.seconds:.1f} s"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
