"""Training: Caffe's solver loop over a net, with its displays, tests and snapshots."""

from __future__ import annotations

import math
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch

from siamplex.engine.net.feeding import FeedingLayer
from siamplex.engine.net.layer import ALL, Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.net_kinds import check_train_val
from siamplex.engine.net.plan import Plan, PlanFull, Planner
from siamplex.engine.net.unfilled import OPTION as UNFILLED_OPTION
from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.checkpoint import REFUSE, Checkpoint
from siamplex.engine.training.early_stop import EarlyStop, loss_of, lowest, validation_losses, validation_output
from siamplex.engine.training.learning_log import LearningLog
from siamplex.engine.training.loss_log import LossLog, open_logs
from siamplex.engine.training.planning import planner
from siamplex.engine.training.process_group import check_divisible, join_team
from siamplex.engine.training.rates import RatePolicy
from siamplex.engine.training.result import BY_LENGTH, BY_VALIDATION, Result, path_of
from siamplex.engine.training.run_lock import run_lock
from siamplex.engine.training.running_mean import RunningMean
from siamplex.engine.training.sgd import SGD
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.engine.training.solver_file import NetSource, SolverFile
from siamplex.engine.training.trial_steps import check_start, describe, rows_of_first_batch
from siamplex.engine.training.watcher import Output, Watcher
from siamplex.errors import Stopped, TrainingError, UsageError
from siamplex.run.durable import discard
from siamplex.run.progress import Progress, say
from siamplex.run.stopping import EFFECTS, SNAPSHOT, StopRequest

_EXPLODED = 1e6  # times the first loss


@dataclass(frozen=True)
class TrainOptions:
    """What the command line adds to a solver.

    ``snapshot_prefix`` and ``seed`` replace the solver's when given; ``existing`` says what becomes of snapshots
    under the prefix that this run would write over (:mod:`~siamplex.engine.training.checkpoint`); ``snapshot_at`` adds
    iterations to its ``snapshot`` interval; ``lean`` leaves frozen tables that came from a weights
    file out of snapshots; ``keep_states`` keeps only the newest so many solverstates (0: all);
    ``shortcut`` lets a frozen prefix be computed once an image, where that is exact; ``amp``
    multiplies in bfloat16, which is not what Caffe computes; ``planner`` finds shortcuts in place of the engine's own,
    and ``hollow`` are parameters that no layer reads then (:class:`~siamplex.engine.net.net.Net`);
    ``outside`` lets prototxts name paths
    anywhere (:class:`~siamplex.schema.bounds.Bounds`); ``level`` and ``stages`` are added to the train
    state; ``check_start`` tries the first steps and refuses a run that must diverge
    (:mod:`~siamplex.engine.training.trial_steps`); ``allow_unfilled`` lets frozen layers stay as their
    fillers made them (:mod:`~siamplex.engine.net.unfilled`), and ``unfilled_option`` is what refusals
    call that; ``early_stop`` ends a run
    whose validation loss has not improved for so many tests (0: never), with snapshots of the best; ``signals`` says
    what each signal brings about; ``watcher`` is told how the run goes; ``tables`` writes PREFIX_losses.csv,
    PREFIX_test.csv, at the end PREFIX_result.json and, of a siamese net, PREFIX_learning.csv.
    """

    weights: tuple[Path, ...] = ()
    snapshot: Path | None = None
    resume: bool = False
    existing: str = REFUSE
    device: str = "cpu"
    seed: int | None = None
    snapshot_prefix: str | None = None
    snapshot_at: frozenset[int] = frozenset()
    lean: bool = False
    keep_states: int = 0
    shortcut: bool = True
    planner: Planner | None = None
    hollow: frozenset[tuple[str, int]] = frozenset()
    amp: bool = False
    outside: bool = False
    level: int = 0
    stages: tuple[str, ...] = ()
    check_start: bool = True
    allow_unfilled: bool = False
    unfilled_option: str = UNFILLED_OPTION
    early_stop: int = 0
    signals: Mapping[int, str] = field(default_factory=lambda: dict(EFFECTS))
    watcher: Watcher | None = None
    tables: bool = True
    quiet: bool = False


class Solver:
    """One training run.  Raises PrototxtError, InputError or UsageError where it cannot be set up."""

    def __init__(self, solver_path: str | Path, options: TrainOptions | None = None) -> None:
        options = options or TrainOptions()
        self.team, device = join_team(options.device)
        self.options = options = options if self.team.leads else replace(options, quiet=True)
        self.watcher = options.watcher or Watcher()
        self.planner = options.planner or planner(options.shortcut)
        self.file = file = SolverFile(solver_path, options.outside)
        self._p = file.message
        _add_state(self._p, options)
        self.seed_is_given = options.seed is not None or self._p.random_seed >= 0
        self.seed = self.team.leaders(self._choose_seed())
        self.device = choose_device(device)
        self.prefix = options.snapshot_prefix or file.prefix
        if self._p.snapshot and not self.prefix:
            what = f"snapshot {self._p.snapshot} without a snapshot_prefix: nothing would be kept of the run"
            raise file.source.error(what, "snapshot", 0)
        self.rate = RatePolicy(file.source)
        self.net_sources = list(file.nets())
        first = self.net_sources[0]
        check_train_val(first.source, first.message, first.path, first.state)
        self.net = self._build(first, "TRAIN")
        if self.team.size > 1:
            check_divisible(self.net)
        self.net.learn()
        self.test_nets = [self._build(source, "TEST", self.net) for source in self.net_sources[1:]]
        if self._p.test_interval and not self.test_nets:
            self.say(str(file.source.error("test_interval without test_iter: nothing is tested", "test_interval", 0)))
        for note in dict.fromkeys(note for net in (self.net, *self.test_nets) for note in net.notes):
            self.say(note)
        self.sgd = SGD(file.source, self.net.parameters, self.team)
        self.iteration = 0
        self.mean = RunningMean(int(self._p.average_loss))
        self.kernels = self.planner.kernels if self.planner else None
        self.plan: Plan | None = None
        self.in_full = False  # a plan was full: every layer runs from then on
        self._first_loss: float | None = None
        self.tested_at: int | None = None  # the iteration of the last tests
        self.early_stop = EarlyStop(options.early_stop) if options.early_stop else None
        self.ended: Result | None = None  # an earlier call's, where it stopped early
        self._learning: LearningLog | None = None
        self._data = [layer for _, layer in self.data_layers()]
        self._logs: dict[str, LossLog] = {}
        self._outputs: list[Output] = []
        self.checkpoint = Checkpoint(self)
        self.checkpoint.begin()
        self._check_early_stop()

    def _check_early_stop(self) -> None:
        """Whether there is a validation loss to stop by, and whether an earlier call stopped by it."""
        if self.early_stop is None:
            return
        names = self.test_nets[0].outputs if self.test_nets else []
        if not self.prefix or validation_output([*names, *(["(loss)"] if self._p.test_compute_loss else [])]) is None:
            raise self.file.source.error("early stopping needs a snapshot_prefix and a test net with a loss")
        known = Result.read(self.prefix)
        mine = known and known.ended == BY_VALIDATION and known.patience == self.early_stop.patience
        if self.options.resume and known and mine and known.origin == self.checkpoint.course.digest:
            self.ended = known if SnapshotPaths.of(self.prefix, known.iteration).manifest.exists() else None

    def _build(self, net: NetSource, phase: str, share_with: Net | None = None) -> Net:
        return Net(
            net.source, phase, message=net.message, message_path=net.path, state=net.state,
            seed=self.seed, device=self.device, share_with=share_with,
            share=ALL if share_with else self.team.share,  # every process runs the whole of a test
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

    def data_layers(self) -> Iterator[tuple[str, FeedingLayer]]:
        """(net:layer, layer) of each layer that reads files."""
        nets = [("train", self.net), *((f"test{i}", net) for i, net in enumerate(self.test_nets))]
        for label, net in nets:
            for node in net.nodes:
                if isinstance(node.layer, FeedingLayer):
                    yield f"{label}:{node.name}", node.layer

    def snapshot(self, stopping: bool = False) -> SnapshotPaths:
        """Write caffemodel, solverstate and manifest for the current iteration, the rows logged so far before them."""
        for log in self._logs.values():
            log.sync()
        return self.checkpoint.save(stopping)

    # --- training

    @property
    def finished(self) -> bool:
        """Whether the run stands at max_iter, or was stopped early before."""
        return self.ended is not None or bool(self.iteration >= self._p.max_iter)

    def solve(self) -> None:
        """Train to max_iter; writes PREFIX_losses.csv (and PREFIX_test.csv when there are tests).

        Raises UsageError while another run holds the prefix, Stopped after the snapshot that a SIGINT
        or SIGTERM asked for, TrainingError where the loss is no number any more.
        """
        if self.iteration > self._p.max_iter:
            raise UsageError(f"iteration {self.iteration} is past max_iter {self._p.max_iter}")
        lock = run_lock(self.prefix or "train") if self.team.leads else nullcontext()
        with lock, StopRequest(self.options.signals) as stop:
            self._solve(stop)

    def begin(self) -> None:
        """Get ready for :meth:`advance`, which :meth:`solve` does by itself."""
        self._take_shortcut()
        self.mean.begin(self.iteration)

    def advance(self, until: int) -> None:
        """Train up to an iteration and do nothing else: no test, display, snapshot or file.

        Raises TrainingError where the loss is no number any more.
        """
        while self.iteration < until:
            self._step()

    def _solve(self, stop: StopRequest) -> None:
        prefix = self.prefix or "train"
        if self.team.leads and self.options.tables:
            self._learning = LearningLog.of(self.net, self.test_nets[0] if self.test_nets else None)
        self._take_shortcut()
        if self.options.check_start and self.iteration == 0 < self._p.max_iter:
            self._check_start()  # before anything is written: what a refused run finds stays as it was
        with ExitStack() as stack:
            if self.team.leads and self.prefix:
                self.checkpoint.clear_the_prefix()
                discard(path_of(self.prefix))  # a run on its way has none
                self.checkpoint.course.write(self.prefix)
            if self.team.leads and self.options.tables:
                columns = self._learning.columns() if self._learning else []
                tested = self.tested_at == self.iteration or not self.test_nets
                self._logs = open_logs(stack, prefix, self.iteration, bool(self.test_nets), columns, tested)
                if self.early_stop and self.iteration:
                    self.early_stop.told(validation_losses(Path(f"{prefix}_test.csv")))
            if not self.checkpoint.resume_mean():
                self.mean.begin(self.iteration)
            if self.iteration == 0 and 0 in self.options.snapshot_at:
                self.snapshot()
            self._iterate(stop)
            if self.team.leads and self.prefix and self.options.tables:
                self._write_result()
        if self.plan:
            self.plan.settle()

    def _write_result(self) -> None:
        """Say which snapshot the run came to: the last, or with early stopping the best."""
        losses = validation_losses(Path(f"{self.prefix}_test.csv")) if "test" in self._logs else []
        best, stop = lowest(losses), self.early_stop
        chosen = stop.best[0] if stop and stop.best else self.iteration
        paths = SnapshotPaths.of(self.prefix, chosen)
        if paths.manifest.exists():
            ended = BY_VALIDATION if self.iteration < self._p.max_iter else BY_LENGTH
            Result(chosen, paths.caffemodel.name, self.iteration, ended, best, stop.patience if stop else 0,
                   self.checkpoint.course.digest).write(self.prefix)  # fmt: skip

    def _iterate(self, stop: StopRequest) -> None:
        p = self._p
        progress = Progress("train", int(p.max_iter) - self.iteration)
        while self.iteration < p.max_iter:
            if self._test_when_due():
                break
            shown = self._step()
            if shown:
                self._display(self.iteration - 1, shown[1])
            if not self.options.quiet:
                progress.step(note=f"loss {self.mean.value:.6g}")
            if self._snapshot_due() or self._snapshot_wanted(stop):
                if not self.test_nets:
                    self._look(None)
                self.snapshot()
            number = self.team.largest(stop.number or 0)
            if number and self.iteration < p.max_iter:
                self._stop(number)
        else:
            self._finish()
        if not self.options.quiet:
            progress.close(f"loss {self.mean.value:.6g}")

    def _finish(self) -> None:
        """What follows the last iteration: a snapshot, a display, a test."""
        p = self._p
        if p.snapshot_after_train and self.prefix and not self._snapshot_due():
            self.snapshot()
        if self._display_due():
            with torch.no_grad():
                self.mean.add(self.team.mean(float(self._forward(0))), self.iteration)
            self._display(self.iteration, None)
        self._test_when_due()

    def _check_start(self) -> None:
        trial = check_start(self)
        if trial:
            rows = rows_of_first_batch(self) if self.team.leads else None
            self.say(describe(trial, rows, float(self._p.base_lr)))

    def _display_due(self) -> bool:
        return bool(self._p.display) and self.iteration % self._p.display == 0

    def _display(self, iteration: int, rate: float | None) -> None:
        if "losses" in self._logs:
            self._logs["losses"].row(iteration, self.mean.value, rate)
        if self.team.leads:
            self.watcher.displayed(iteration, self.mean.value, rate, self._outputs)

    def _stop(self, number: int) -> None:
        where = "no snapshot: the solver has no snapshot_prefix"
        if self.prefix:
            written = self._snapshot_due()
            paths = SnapshotPaths.of(self.prefix, self.iteration) if written else self.snapshot(stopping=True)
            where = f"--resume or --snapshot {paths.solverstate} goes on from there"
        raise Stopped(number, f"stopped by {signal.Signals(number).name} at iteration {self.iteration}; {where}")

    def _snapshot_due(self) -> bool:
        return bool(self.prefix) and self._due_at(self.iteration)

    def _due_at(self, iteration: int) -> bool:
        """Whether ``iteration`` is one to snapshot at, by interval (from the first on) or by request."""
        by_interval = bool(self._p.snapshot and iteration) and iteration % self._p.snapshot == 0
        return bool(by_interval or iteration in self.options.snapshot_at)

    def _snapshot_wanted(self, stop: StopRequest) -> bool:
        """Whether a signal asked for a snapshot (in any process of a team)."""
        if SNAPSHOT not in self.options.signals.values() or not self.prefix:
            return False
        wanted, stop.wants_snapshot = stop.wants_snapshot, False
        return bool(self.team.largest(int(wanted)))

    def _take_shortcut(self) -> None:
        planner = self.planner
        if self.plan or self.in_full or planner is None:
            return
        self.say("looking for layers whose work can be done once for each image")
        self.sgd.keep_factors(planner)
        self.plan = planner.plan(self.net, self.test_nets, self.sgd.velocity, self.sgd.span_momentum)
        if self.plan:
            self.sgd.delegate(self.plan.keepers)
            self.checkpoint.retrace()
            self.say(f"shortcut: {self.plan.describe()} (--no-shortcut turns this off)")
            return
        merged = [planner.merge_towers(net) for net in (self.net, *self.test_nets)]
        quicker = "FFT convolution where that is quicker (--no-shortcut turns this off)"
        if merged[0]:
            self.say(f"none; the towers run as one from {merged[0]}, {quicker}")
        else:
            self.say(f"none: every layer runs at every iteration; {quicker}")

    def _leave_shortcut(self) -> None:
        assert self.plan
        self.plan.retire()
        self.sgd.take_back()
        self.plan, self.in_full = None, True
        self.say("shortcut left: more distinct images than its table holds")

    def _forward(self, sub_pass: int) -> torch.Tensor:
        context = Context(True, self.seed, self.iteration, sub_pass, self.kernels)
        positions = [(layer, layer.source.position) for layer in self._data] if self.plan else []
        with torch.autocast(self.device.type, torch.bfloat16) if self.options.amp else nullcontext():
            try:
                loss, blobs = self.net.forward(context)
            except PlanFull:
                self._leave_shortcut()
                for layer, position in positions:
                    layer.source.seek(position)
                loss, blobs = self.net.forward(context)
        if self.options.watcher and self._display_due():
            self._outputs = outputs_of(self.net, blobs)
        return loss

    def _step(self) -> tuple[float, float] | None:
        """One iteration; returns (loss, rate) when it is one to display."""
        loss_value = self.pass_over()
        if not math.isfinite(loss_value) or self._explodes(loss_value):
            raise TrainingError(self.diverged(loss_value))
        self.mean.add(loss_value, self.iteration)
        rate = self.rate(self.iteration)
        shown = self._display_due()
        self.sgd.update(rate, self.iteration)
        self.iteration += 1
        return (self.mean.value, rate) if shown else None

    def pass_over(self, learning: bool = True) -> float:
        """The loss of this iteration's passes over the next batches; ``learning`` adds up their gradients."""
        total = 0.0
        for sub_pass in range(self._p.iter_size):
            loss = self._forward(sub_pass)
            if learning and loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return self.team.mean(total / self._p.iter_size)

    def _explodes(self, loss: float) -> bool:
        """Whether a loss is a million times the first one, and large as such."""
        if self._first_loss is None:
            self._first_loss = abs(loss)
        return abs(loss) > _EXPLODED * max(1.0, self._first_loss)

    def diverged(self, loss: float | None, where: str = "") -> str:
        """What to say of a run that diverged: by its ``loss``, or else by weights ``where`` that are not finite."""
        last = snapshots.latest_whole(self.prefix, self.checkpoint.course) if self.prefix else None
        kept = f"last good snapshot {last.caffemodel}" if last else "no snapshot before it"
        if loss is None:
            what = f"expected finite weights in {where}, found others at iteration {self.iteration}"
        elif math.isfinite(loss):
            what = f"the loss exploded: {loss:.3g}, {self._first_loss:.3g} at first, at iteration {self.iteration}"
        else:
            what = f"the loss exploded: it is {loss} at iteration {self.iteration}"
        return f"{self.file.source.path}: {what} ({kept}; a smaller base_lr may help)"

    def _test_when_due(self) -> bool:
        """Run the tests of this iteration, if any; whether training ends with them."""
        p, log = self._p, self._logs.get("test")
        if not self.test_nets or self.iteration % p.test_interval or self.tested_at == self.iteration:
            return False
        if self.iteration == 0 and not p.test_initialization:
            return False
        validation = None
        for number, (net, passes) in enumerate(zip(self.test_nets, p.test_iter, strict=True)):
            self.watcher.testing(self.iteration, number)
            found = self.test(net, int(passes))
            if log:
                for name, value in found.items():
                    log.row(self.iteration, number, name, value)
            weights = loss_weights(net)
            outputs = [Output(name, _values_of(name, found), weights.get(name, 0.0)) for name in net.outputs]
            self.watcher.tested(self.iteration, number, outputs, found.get("(loss)"))
            validation = loss_of(found) if number == 0 else validation
        self.tested_at = self.iteration
        self._look(validation)
        return self._stops_early(validation)

    def _look(self, validation: float | None) -> None:
        """Log how the net gets on."""
        row = self._learning.look(self.iteration, self.plan, validation) if self._learning else None
        if self._learning and row:
            self._learning.write(self._logs["learning"], row)
            self.say(str(row))

    def _stops_early(self, validation: float | None) -> bool:
        """With early stopping, take a snapshot of a validation loss lower than any before; whether patience is over."""
        stop = self.early_stop
        if stop is None or validation is None:
            return False
        before = stop.best
        improved = stop.tested(self.iteration, validation)
        improved = bool(self.team.leaders(int(improved)))
        if improved and not self._has_snapshot():
            self.snapshot()
        if improved and before and self.team.leads and not self._due_at(before[0]):
            for path in SnapshotPaths.of(self.prefix, before[0]):  # 0.3 GB each at full size, and of no use any more
                discard(path)
        over = bool(self.team.leaders(int(stop.exhausted))) and self.iteration < self._p.max_iter
        if over and stop.best:
            self.say(
                f"stopped at iteration {self.iteration}: validation loss not below {stop.best[1]:.4g}, that of "
                f"iteration {stop.best[0]}, for {stop.patience} tests"
            )
        return over

    def _has_snapshot(self) -> bool:
        """Whether this iteration's snapshot was just written."""
        if self.iteration >= self._p.max_iter and self._p.snapshot_after_train:
            return True
        return self._due_at(self.iteration)

    @torch.no_grad()
    def test(self, net: Net, passes: int) -> dict[str, float]:
        """Mean of each output of a test net over ``passes`` batches."""
        if self.plan and net not in self.plan.nets:
            self.plan.settle()
        sums: dict[str, float] = {}
        for sub_pass in range(passes):
            loss, blobs = net.forward(Context(False, self.seed, self.iteration, sub_pass, self.kernels))
            for output in net.outputs:
                flat = blobs[output].reshape(-1).tolist()
                for i, value in enumerate(flat):
                    key = output if len(flat) == 1 else f"{output}[{i}]"
                    sums[key] = sums.get(key, 0.0) + value
            if self._p.test_compute_loss:
                sums["(loss)"] = sums.get("(loss)", 0.0) + float(loss)
        return {key: total / passes for key, total in sums.items()}

    def say(self, text: str) -> None:
        if not self.options.quiet:
            say(text)


def _add_state(solver: Any, options: TrainOptions) -> None:
    """Add level and stages of the command line to the train net's state, as Caffe's do."""
    if options.level:
        solver.train_state.level = options.level
    solver.train_state.stage.extend(options.stages) if options.stages else None


def loss_weights(net: Net) -> dict[str, float]:
    """Weight in the loss of each top that has one."""
    pairs = (pair for node in net.nodes for pair in zip(node.tops, node.loss_weights, strict=True))
    return {top: weight for top, weight in pairs if weight}


def _values_of(name: str, found: Mapping[str, float]) -> list[float]:
    """The values of an output among those of :meth:`Solver.test`."""
    if name in found:
        return [found[name]]
    return [found[key] for key in takewhile(found.__contains__, (f"{name}[{i}]" for i in count()))]


def outputs_of(net: Net, blobs: Mapping[str, torch.Tensor]) -> list[Output]:
    """A net's outputs after a forward pass."""
    weights = loss_weights(net)
    return [
        Output(name, blobs[name].detach().reshape(-1).tolist(), weights.get(name, 0.0))
        for name in net.outputs
        if name in blobs
    ]


def choose_device(name: str) -> torch.device:
    """``cpu``, ``cuda`` or ``cuda:N``; raises UsageError for one this machine has not."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, found '{name}'") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("--device: expected a CUDA device, found none that torch can use")
        # Caffe computes in float32; TF32 would keep only ten bits of each product
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    elif device.type != "cpu":
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, found '{name}'")
    return device
