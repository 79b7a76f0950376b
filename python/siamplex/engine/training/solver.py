"""The solver of a training run: its nets, update rule, iteration and plan, and one step of training.

:class:`~siamplex.engine.training.loop.Loop` decides when to test, display, snapshot and stop.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from siamplex.engine.net.carrying import Carried, CarryingLayer, carrying
from siamplex.engine.net.feeding import FeedingLayer
from siamplex.engine.net.layer import ALL, Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.net_kinds import check_train_val
from siamplex.engine.net.plan import Plan, PlanFull
from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.checkpoint import Checkpoint
from siamplex.engine.training.device import choose_device
from siamplex.engine.training.early_stop import EarlyStop, validation_output
from siamplex.engine.training.loop import Loop
from siamplex.engine.training.options import TrainOptions, add_state
from siamplex.engine.training.outputs import mean_outputs, outputs_of
from siamplex.engine.training.planning import planner
from siamplex.engine.training.process_group import check_divisible, join_process_group
from siamplex.engine.training.rates import RatePolicy
from siamplex.engine.training.result import BY_VALIDATION, Result
from siamplex.engine.training.resumption import replay
from siamplex.engine.training.run_lock import run_lock
from siamplex.engine.training.running_mean import RunningMean
from siamplex.engine.training.sgd import SGD
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.engine.training.solver_file import NetSource, SolverFile
from siamplex.engine.training.start import Start
from siamplex.engine.training.watcher import Output, Watcher
from siamplex.errors import TrainingError, UsageError
from siamplex.run.progress import say
from siamplex.run.stopping import StopRequest

_EXPLODED = 1e6  # times the first loss

Passed = TypeVar("Passed")


class Solver:
    """One training run of a solver prototxt, like Caffe's Solver.

    Raises PrototxtError, InputError or UsageError where it cannot be set up.
    """

    def __init__(self, solver_path: str | Path, options: TrainOptions | None = None) -> None:
        options = options or TrainOptions()
        self.group, device = join_process_group(options.device)
        self.options = options = options if self.group.is_rank_zero else replace(options, quiet=True)
        self.watcher = options.watcher or Watcher()
        self.planner = options.planner or planner(options.shortcut)
        self.kernels = self.planner.kernels if self.planner else None
        self.file = file = SolverFile(solver_path, options.outside)
        self._p = file.message
        add_state(self._p, options)
        self.seed_is_given = options.seed is not None or self._p.random_seed >= 0
        self.seed = self.group.of_rank_zero(self._choose_seed())
        self.device = choose_device(device)
        self.prefix = options.snapshot_prefix or file.prefix
        if self._p.snapshot and not self.prefix:
            what = f"snapshot {self._p.snapshot} without a snapshot_prefix: nothing would be kept of the run"
            raise file.source.error(what, "snapshot", 0)
        self.rate = RatePolicy(file.source)
        self.net_sources = list(file.nets())
        self._build_nets()
        self.sgd = SGD(file.source, self.net.parameters, self.group)
        self.iteration = 0
        self.mean = RunningMean(int(self._p.average_loss))
        self.plan: Plan | None = None
        self.in_full = False  # the plan was full: every layer runs from now on
        self.tested_at: int | None = None  # the iteration of the last tests
        self.outputs: list[Output] = []  # of the last displayed pass
        self._first_loss: float | None = None
        self._data = [layer for _, layer in self.data_layers()]
        self.early_stop = EarlyStop(options.early_stop) if options.early_stop else None
        self.ended: Result | None = None  # the result of an earlier call that stopped early
        self.checkpoint = Checkpoint(self)
        self.start = Start(self)
        self.start.begin()
        self._check_early_stop()

    # --- setting up

    def _build_nets(self) -> None:
        first = self.net_sources[0]
        check_train_val(first.source, first.message, first.path, first.state)
        self.net = self._build(first, "TRAIN")
        if self.group.world_size > 1:
            check_divisible(self.net)
        self.net.learn()
        self.test_nets = [self._build(source, "TEST", self.net) for source in self.net_sources[1:]]
        if self._p.test_interval and not self.test_nets:
            self.say(str(self.file.source.error("test_interval without test_iter: nothing is tested",
                                                "test_interval", 0)))  # fmt: skip
        for note in dict.fromkeys(note for net in (self.net, *self.test_nets) for note in net.notes):
            self.say(note)

    def _build(self, net: NetSource, phase: str, share_with: Net | None = None) -> Net:
        return Net(
            net.source, phase, message=net.message, message_path=net.path, state=net.state,
            seed=self.seed, device=self.device, share_with=share_with,
            share=ALL if share_with else self.group.share,  # every process runs the whole of a test
            hollow=self.options.hollow,
        )  # fmt: skip

    def _choose_seed(self) -> int:
        if self.options.seed is not None:
            return self.options.seed
        if self._p.random_seed >= 0:
            return int(self._p.random_seed)
        seed = secrets.randbelow(2**31)
        self.say(f"random_seed is not set: drew {seed}")
        return seed

    def _check_early_stop(self) -> None:
        """Check that early stopping has a validation loss, and find out whether an earlier call stopped by it."""
        if self.early_stop is None:
            return
        names = self.test_nets[0].outputs if self.test_nets else []
        if not self.prefix or validation_output([*names, *(["(loss)"] if self._p.test_compute_loss else [])]) is None:
            raise self.file.source.error("early stopping needs a snapshot_prefix and a test net with a loss")
        known = Result.read(self.prefix)
        mine = known and known.ended == BY_VALIDATION and known.patience == self.early_stop.patience
        if self.options.resume and known and mine and known.origin == self.start.course.digest:
            self.ended = known if SnapshotPaths.of(self.prefix, known.iteration).manifest.exists() else None

    def data_layers(self) -> Iterator[tuple[str, FeedingLayer]]:
        """(net:layer, layer) of each layer that reads files."""
        for label, net in self._labelled_nets():
            for node in net.nodes:
                if isinstance(node.layer, FeedingLayer):
                    yield f"{label}:{node.name}", node.layer

    def carrying_layers(self) -> Iterator[tuple[str, CarryingLayer]]:
        """(net:layer, layer) of each layer that carries values from pass to pass."""
        for label, net in self._labelled_nets():
            yield from ((f"{label}:{name}", layer) for name, layer in carrying(net.nodes))

    def _labelled_nets(self) -> list[tuple[str, Net]]:
        return [("train", self.net), *((f"test{i}", net) for i, net in enumerate(self.test_nets))]

    def say(self, text: str) -> None:
        """A line of the log."""
        if not self.options.quiet:
            say(text)

    # --- the run

    @property
    def finished(self) -> bool:
        """Whether the run has reached max_iter, or was stopped early in an earlier call."""
        return self.ended is not None or bool(self.iteration >= self._p.max_iter)

    def solve(self) -> None:
        """Train to max_iter; writes PREFIX_losses.csv (and PREFIX_test.csv when there are tests).

        Raises UsageError while another run holds the prefix, Stopped after the snapshot that a SIGINT
        or SIGTERM asked for, TrainingError where the loss is no longer a number.
        """
        if self.iteration > self._p.max_iter:
            raise UsageError(f"iteration {self.iteration} is past max_iter {self._p.max_iter}")
        lock = run_lock(self.prefix or "train") if self.group.is_rank_zero else nullcontext()
        with lock, StopRequest(self.options.signals) as stop:
            Loop(self, stop).run()

    def begin(self) -> None:
        """Prepare for :meth:`advance`; :meth:`solve` calls this itself."""
        self.take_plan()
        self.mean.begin(self.iteration)

    def advance(self, until: int) -> None:
        """Train up to iteration ``until`` without any test, display, snapshot or file.

        Raises TrainingError where the loss is no longer a number.
        """
        while self.iteration < until:
            self.step()

    def snapshot(self, stopping: bool = False) -> SnapshotPaths:
        """Write caffemodel, solverstate and manifest for the current iteration (:meth:`Checkpoint.save`)."""
        return self.checkpoint.save(stopping)

    def test(self, net: Net, passes: int) -> dict[str, float]:
        """Mean of each output of a test net over ``passes`` batches."""
        if self.plan and net not in self.plan.nets:
            self.plan.settle()
        with_loss = bool(self._p.test_compute_loss)
        return self._in_full_if_needed(
            lambda: mean_outputs(net, passes, self.seed, self.iteration, self.kernels, with_loss)
        )

    # --- one iteration

    @property
    def display_due(self) -> bool:
        """Whether this iteration is one to display."""
        return bool(self._p.display) and self.iteration % self._p.display == 0

    def step(self) -> tuple[float, float] | None:
        """One iteration; returns (loss, rate) when it is one to display.  Raises TrainingError where it diverged."""
        loss = self.pass_over()
        if not math.isfinite(loss) or self._explodes(loss):
            raise TrainingError(self.diverged(loss))
        self.mean.add(loss, self.iteration)
        rate = self.rate(self.iteration)
        shown = self.display_due
        self.sgd.update(rate, self.iteration)
        self.iteration += 1
        return (self.mean.value, rate) if shown else None

    def pass_over(self, learning: bool = True) -> float:
        """The mean loss of this iteration's iter_size passes; with ``learning`` their gradients are accumulated."""
        total = 0.0
        for sub_pass in range(self._p.iter_size):
            loss = self.forward(sub_pass)
            if learning and loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return self.group.mean(total / self._p.iter_size)

    def forward(self, sub_pass: int) -> torch.Tensor:
        """The loss of the train net over its next batch; a full plan is retired first."""
        context = Context(True, self.seed, self.iteration, sub_pass, self.kernels)
        with torch.autocast(self.device.type, torch.bfloat16) if self.options.amp else nullcontext():
            loss, blobs = self._in_full_if_needed(lambda: self.net.forward(context))
        if self.options.watcher and self.display_due:
            self.outputs = outputs_of(self.net, blobs)
        return loss

    def _explodes(self, loss: float) -> bool:
        """Whether a loss is a million times the first one, and large as such."""
        if self._first_loss is None:
            self._first_loss = abs(loss)
        return abs(loss) > _EXPLODED * max(1.0, self._first_loss)

    def diverged(self, loss: float | None, where: str = "") -> str:
        """The message for a run that diverged: by its ``loss``, or by weights ``where`` that are not finite."""
        last = snapshots.latest_whole(self.prefix, self.start.course) if self.prefix else None
        kept = f"last good snapshot {last.caffemodel}" if last else "no snapshot before it"
        if loss is None:
            what = f"expected finite weights in {where}, found others at iteration {self.iteration}"
        elif math.isfinite(loss):
            what = f"the loss exploded: {loss:.3g}, {self._first_loss:.3g} at first, at iteration {self.iteration}"
        else:
            what = f"the loss exploded: it is {loss} at iteration {self.iteration}"
        return f"{self.file.source.path}: {what} ({kept}; a smaller base_lr may help)"

    # --- the plan

    def take_plan(self) -> None:
        """Let the planner, if any, put its stand-ins into the nets where that saves work."""
        planner = self.planner
        if self.plan or self.in_full or planner is None:
            return
        self.say("looking for layers whose work can be done once for each image")
        self.sgd.keep_factors(planner)
        self.plan = planner.plan(self.net, self.test_nets, self.sgd.velocity, self.sgd.span_momentum)
        if self.plan:
            self.sgd.delegate(self.plan.keepers)
            replay(self)
            self.say(f"shortcut: {self.plan.describe()} (--no-shortcut turns this off)")
            return
        merged = [planner.merge_towers(net) for net in (self.net, *self.test_nets)]
        quicker = "FFT convolution where that is quicker (--no-shortcut turns this off)"
        if merged[0]:
            self.say(f"none; the towers run as one from {merged[0]}, {quicker}")
        else:
            self.say(f"none: every layer runs at every iteration; {quicker}")

    def _in_full_if_needed(self, run: Callable[[], Passed]) -> Passed:
        """What ``run`` returns; a full plan is retired, and ``run`` called again from where it began."""
        if not self.plan:
            return run()
        positions = [(layer, layer.source.position) for layer in self._data]
        carried = Carried(node for net in (self.net, *self.test_nets) for node in net.nodes)
        try:
            return run()
        except PlanFull:
            self._leave_plan()
            for layer, position in positions:
                layer.source.seek(position)
            carried.put_back()
            return run()

    def _leave_plan(self) -> None:
        assert self.plan
        self.plan.retire()
        self.sgd.take_back()
        self.plan, self.in_full = None, True
        self.say("shortcut left: more distinct images than its table holds")
