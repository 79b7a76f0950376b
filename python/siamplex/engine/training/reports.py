"""Everything a run reports: the CSV tables of losses, tests and learning, calls to the watcher, the result file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from siamplex.engine.net.net import Net
from siamplex.engine.training.early_stop import lowest, validation_losses
from siamplex.engine.training.learning_log import LearningLog
from siamplex.engine.training.loss_log import LossLog, open_logs
from siamplex.engine.training.outputs import loss_weights, values_of
from siamplex.engine.training.result import BY_LENGTH, BY_VALIDATION, Result
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.engine.training.watcher import Output

if TYPE_CHECKING:
    from siamplex.engine.training.solver import Solver


class Reports:
    """The reports of one run; the process of rank 0 writes the tables, where the options ask for them.

    Create it before training begins, while the data layers are not being read.
    """

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._wanted = solver.group.is_rank_zero and solver.options.tables
        self._learning: LearningLog | None = None
        self._logs: dict[str, LossLog] = {}
        if self._wanted:
            self._learning = LearningLog.of(solver.net, solver.test_nets[0] if solver.test_nets else None)

    def open(self, stack: ExitStack) -> None:
        """Open the tables and drop rows after the current iteration.  ``stack`` closes them."""
        solver = self._solver
        if not self._wanted:
            return
        prefix = solver.prefix or "train"
        columns = self._learning.columns() if self._learning else []
        tested = solver.tested_at == solver.iteration or not solver.test_nets
        self._logs = open_logs(stack, prefix, solver.iteration, bool(solver.test_nets), columns, tested)
        if solver.early_stop and solver.iteration:
            solver.early_stop.told(validation_losses(Path(f"{prefix}_test.csv")))

    def sync(self) -> None:
        """Bring the rows logged so far to the disk."""
        for log in self._logs.values():
            log.sync()

    def display(self, iteration: int, rate: float | None) -> None:
        """Report the mean loss of a displayed iteration and its learning rate (None after the last iteration)."""
        solver = self._solver
        if "losses" in self._logs:
            self._logs["losses"].row(iteration, solver.mean.value, rate)
        if solver.group.is_rank_zero:
            solver.watcher.displayed(iteration, solver.mean.value, rate, solver.outputs)

    def tested(self, number: int, net: Net, found: Mapping[str, float]) -> None:
        """Report the mean outputs of a test net."""
        solver = self._solver
        if "test" in self._logs:
            for name, value in found.items():
                self._logs["test"].row(solver.iteration, number, name, value)
        solver.watcher.tested(solver.iteration, number, as_outputs(net, found), found.get("(loss)"))

    def look(self, validation: float | None) -> None:
        """Add a row to the learning log of a siamese net."""
        solver = self._solver
        row = self._learning.look(solver.iteration, solver.plan, validation) if self._learning else None
        if self._learning and row:
            self._learning.write(self._logs["learning"], row)
            solver.say(str(row))

    def write_result(self) -> None:
        """Write the result file; it names the last snapshot or, with early stopping, the best one."""
        solver, stop = self._solver, self._solver.early_stop
        if not (self._wanted and solver.prefix):
            return
        losses = validation_losses(Path(f"{solver.prefix}_test.csv")) if "test" in self._logs else []
        chosen = stop.best[0] if stop and stop.best else solver.iteration
        paths = SnapshotPaths.of(solver.prefix, chosen)
        if paths.manifest.exists():
            ended = BY_VALIDATION if solver.iteration < solver.file.message.max_iter else BY_LENGTH
            Result(chosen, paths.caffemodel.name, solver.iteration, ended, lowest(losses), stop.patience if stop else 0,
                   solver.start.course.digest).write(solver.prefix)  # fmt: skip


def as_outputs(net: Net, found: Mapping[str, float]) -> list[Output]:
    """Means of a test net's outputs, as the watcher receives them."""
    weights = loss_weights(net)
    return [Output(name, values_of(name, found), weights.get(name, 0.0)) for name in net.outputs]
