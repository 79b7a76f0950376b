"""Caffe's solver loop: when to test, display, take a snapshot and stop."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch

from siamplex.engine.training.early_stop import loss_of
from siamplex.engine.training.reports import Reports
from siamplex.engine.training.resumption import resume_mean
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.engine.training.trial_steps import check_start, describe, rows_of_first_batch
from siamplex.errors import Stopped
from siamplex.run.durable import discard
from siamplex.run.progress import Progress
from siamplex.run.stopping import SNAPSHOT, StopRequest

if TYPE_CHECKING:
    from siamplex.engine.training.solver import Solver


class Loop:
    """Runs a solver from its current iteration to max_iter, or until a signal or early stopping ends it."""

    def __init__(self, solver: Solver, stop: StopRequest) -> None:
        self._solver, self._stop = solver, stop
        self._p = solver.file.message
        self._reports = Reports(solver)

    def run(self) -> None:
        """Train.  Raises Stopped, TrainingError."""
        solver = self._solver
        solver.take_plan()
        if solver.options.check_start and solver.iteration == 0 < self._p.max_iter:
            self._check_start()  # before anything is written, so that a refused run changes no file
        with ExitStack() as stack:
            if solver.group.is_rank_zero and solver.prefix:
                solver.start.take_the_prefix()
            self._reports.open(stack)
            if not resume_mean(solver):
                solver.mean.begin(solver.iteration)
            if solver.iteration == 0 and 0 in solver.options.snapshot_at:
                self._snapshot()
            self._iterate()
            self._reports.write_result()
        if solver.plan:
            solver.plan.settle()

    def _check_start(self) -> None:
        solver = self._solver
        trial = check_start(solver)
        if trial:
            rows = rows_of_first_batch(solver) if solver.group.is_rank_zero else None
            solver.say(describe(trial, rows, float(self._p.base_lr)))

    def _iterate(self) -> None:
        solver, last = self._solver, int(self._p.max_iter)
        progress = Progress("train", last - solver.iteration)
        while solver.iteration < last:
            if self._test_when_due():
                break
            shown = solver.step()
            if shown:
                self._reports.display(solver.iteration - 1, shown[1])
            if not solver.options.quiet:
                progress.step(note=f"loss {solver.mean.value:.6g}")
            if self._snapshot_due() or self._snapshot_wanted():
                if not solver.test_nets:
                    self._reports.look(None)
                self._snapshot()
            number = solver.group.largest(self._stop.number or 0)
            if number and solver.iteration < last:
                self._stop_here(number)
        else:
            self._finish()
        if not solver.options.quiet:
            progress.close(f"loss {solver.mean.value:.6g}")

    def _finish(self) -> None:
        """After the last iteration: take a snapshot, display, test."""
        solver = self._solver
        by_interval = self._p.snapshot and solver.iteration % self._p.snapshot == 0  # at 0 as well, as in Caffe
        if self._p.snapshot_after_train and solver.prefix and not by_interval and not self._snapshot_due():
            self._snapshot()
        if solver.display_due:
            with torch.no_grad():
                solver.mean.add(solver.group.mean(float(solver.forward(0))), solver.iteration)
            self._reports.display(solver.iteration, None)
        self._test_when_due()

    def _stop_here(self, number: int) -> None:
        solver = self._solver
        where = "no snapshot: the solver has no snapshot_prefix"
        if solver.prefix:
            written = self._snapshot_due()
            paths = SnapshotPaths.of(solver.prefix, solver.iteration) if written else self._snapshot(stopping=True)
            where = f"--resume or --snapshot {paths.solverstate} goes on from there"
        raise Stopped(number, f"stopped by {signal.Signals(number).name} at iteration {solver.iteration}; {where}")

    # --- snapshots

    def _snapshot(self, stopping: bool = False) -> SnapshotPaths:
        """Write a snapshot, after bringing the rows logged so far to the disk."""
        self._reports.sync()
        return self._solver.snapshot(stopping)

    def _snapshot_due(self) -> bool:
        return bool(self._solver.prefix) and self._due_at(self._solver.iteration)

    def _due_at(self, iteration: int) -> bool:
        """Whether a snapshot is due at ``iteration``, by the interval or by ``snapshot_at``."""
        by_interval = bool(self._p.snapshot and iteration) and iteration % self._p.snapshot == 0
        return bool(by_interval or iteration in self._solver.options.snapshot_at)

    def _snapshot_wanted(self) -> bool:
        """Whether a signal asked for a snapshot, in any process of the group."""
        solver, stop = self._solver, self._stop
        if SNAPSHOT not in solver.options.signals.values() or not solver.prefix:
            return False
        wanted, stop.wants_snapshot = stop.wants_snapshot, False
        return bool(solver.group.largest(int(wanted)))

    def _has_snapshot(self) -> bool:
        """Whether this iteration's snapshot has been written."""
        if self._solver.iteration >= self._p.max_iter and self._p.snapshot_after_train:
            return True
        return self._due_at(self._solver.iteration)

    # --- tests

    def _test_when_due(self) -> bool:
        """Run the tests of this iteration, if any; returns whether they end training (early stopping)."""
        solver, p = self._solver, self._p
        if not solver.test_nets or solver.iteration % p.test_interval or solver.tested_at == solver.iteration:
            return False
        if solver.iteration == 0 and not p.test_initialization:
            return False
        validation = None
        for number, (net, passes) in enumerate(zip(solver.test_nets, p.test_iter, strict=True)):
            solver.watcher.testing(solver.iteration, number)
            found = solver.test(net, int(passes))
            self._reports.tested(number, net, found)
            validation = loss_of(found) if number == 0 else validation
        solver.tested_at = solver.iteration
        self._reports.look(validation)
        return self._stops_early(validation)

    def _stops_early(self, validation: float | None) -> bool:
        """With early stopping, take a snapshot at a new lowest validation loss; returns whether training ends."""
        solver, stop = self._solver, self._solver.early_stop
        if stop is None or validation is None:
            return False
        before = stop.best
        improved = stop.tested(solver.iteration, validation)
        improved = bool(solver.group.of_rank_zero(int(improved)))
        if improved and not self._has_snapshot():
            self._snapshot()
        if improved and before and solver.group.is_rank_zero and not self._due_at(before[0]):
            for path in SnapshotPaths.of(solver.prefix, before[0]):  # 0.3 GB each at full size, and no longer needed
                discard(path)
        over = bool(solver.group.of_rank_zero(int(stop.exhausted))) and solver.iteration < self._p.max_iter
        if over and stop.best:
            solver.say(
                f"stopped at iteration {solver.iteration}: validation loss not below {stop.best[1]:.4g}, that of "
                f"iteration {stop.best[0]}, for {stop.patience} tests"
            )
        return over
