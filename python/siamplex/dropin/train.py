"""``caffe train``: runs a solver, with Caffe's log."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamplex.dropin.devices import device_of
from siamplex.dropin.flags import UNFILLED, Flags
from siamplex.dropin.glog import info, number
from siamplex.dropin.message_text import message_text
from siamplex.dropin.net_log import layer_names, log_net
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.engine.training.update_rules import KEPT
from siamplex.engine.training.watcher import Output, Watcher
from siamplex.errors import Stopped, UsageError
from siamplex.run.progress import say
from siamplex.run.stopping import STOP
from siamplex.schema import messages
from siamplex.schema.messages import ENUMS
from siamplex.schema.weights import read_layer_names

if TYPE_CHECKING:
    from siamplex.engine.net.net import Net
    from siamplex.engine.training.solver import Solver


class CaffeLog(Watcher):
    """Writes what a training does as Caffe's log would have it."""

    def __init__(self, display: int, prefix: str) -> None:
        self._display = display
        self._folder = "".join(prefix.rpartition("/")[:2])  # of the snapshots, as written
        self._ignored: list[list[str]] = []  # layers of the train net that each test net lacks
        self._last, self._last_iteration = time.monotonic(), -1
        self._held: dict[str, tuple[str, str]] = {}  # lines that stand among those of a display

    def displayed(self, iteration: int, loss: float, rate: float | None, outputs: Sequence[Output]) -> None:
        now = time.monotonic()
        if rate is None:
            info(f"Iteration {iteration}, loss = {number(loss)}", "solver.cpp:327")
            return
        spent, steps = max(now - self._last, 1e-9), iteration - self._last_iteration
        speed = f"{number(steps / spent)} iter/s, {number(spent)}s/{self._display} iters"
        info(f"Iteration {iteration} ({speed}), loss = {number(loss)}", "solver.cpp:239")
        self._outputs("Train", outputs, 258)
        self._say_held("step")
        info(f"Iteration {iteration}, lr = {number(rate)}", "sgd_solver.cpp:112")
        self._say_held("clip")
        self._last, self._last_iteration = now, iteration

    def stepped(self, iteration: int, step: int) -> None:
        self._hold("step", iteration, f"MultiStep Status: Iteration {iteration}, step = {step}")

    def clipped(self, iteration: int, norm: float, limit: float) -> None:
        what = f"Gradient clipping: scaling down gradients (L2 norm {number(norm)} > {number(limit)})"
        self._hold("clip", iteration, f"{what} by scale factor {number(limit / norm)}")

    def _hold(self, kind: str, iteration: int, text: str) -> None:
        """Say a line of an iteration, which Caffe says in the midst of the iteration's display, if it has one."""
        self._held[kind] = text, "sgd_solver.cpp:0"
        if not (self._display and iteration % self._display == 0):
            self._say_held(kind)

    def _say_held(self, kind: str) -> None:
        if kind in self._held:
            info(*self._held.pop(kind))

    def testing(self, iteration: int, net: int) -> None:
        info(f"Iteration {iteration}, Testing net (#{net})", "solver.cpp:347")
        for name in self._ignored[net]:
            info(f"Ignoring source layer {name}", "net.cpp:678")

    def tested(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        if loss is not None:
            info(f"Test loss: {number(loss)}", "solver.cpp:401")
        self._outputs("Test", outputs, 414)

    def saving(self, paths: SnapshotPaths) -> None:
        kind = "HDF5" if paths.caffemodel.suffix == ".h5" else "binary proto"
        lines = (464, 284) if kind == "binary proto" else (0, 0)
        info(f"Snapshotting to {kind} file {self._folder}{paths.caffemodel.name}", f"solver.cpp:{lines[0]}")
        where = f"{self._folder}{paths.solverstate.name}"
        info(f"Snapshotting solver state to {kind} file {where}", f"sgd_solver.cpp:{lines[1]}")

    def built(self, solver: Solver, weights: Mapping[str, Path], state: Any) -> None:
        """Log how a solver's nets were built and the ``weights`` they start from, files by the names given for them.

        ``state`` is added to the train net's.
        """
        tests = solver.net_sources[1:]
        where = _source_of(solver.file.message)
        info(f"Creating training net {where}", "solver.cpp:102" if "from net file" in where else "solver.cpp:0")
        log_net(solver.net, state)
        _log_weights(solver.net, weights)
        names = layer_names(solver.net)
        for index, (net, source) in enumerate(zip(solver.test_nets, tests, strict=True)):
            which = _test_source_of(solver.file.message, index)
            info(f"Creating test net (#{index}) specified by {which}", "solver.cpp:190")
            log_net(net, *([source.state] if source.state is not None else []))
            _log_weights(net, weights)
            there = set(layer_names(net))
            self._ignored.append([name for name in names if name not in there])
        info("Solver scaffolding done.", "solver.cpp:57")

    def _outputs(self, phase: str, outputs: Sequence[Output], line: int) -> None:
        index = 0
        for output in outputs:
            for value in output.values:
                weighted = (
                    f" (* {number(output.weight)} = {number(output.weight * value)} loss)" if output.weight else ""
                )
                info(
                    f"    {phase} net output #{index}: {output.name} = {number(value)}{weighted}", f"solver.cpp:{line}"
                )
                index += 1


def _log_weights(net: Net, weights: Mapping[str, Path]) -> None:
    there = set(layer_names(net))
    for given, file in weights.items():
        info(f"Finetuning from {given}", "solver.cpp:72")
        for name in read_layer_names(file):
            if name not in there:
                info(f"Ignoring source layer {name}", "net.cpp:0")


def _source_of(solver: Any) -> str:
    """Where the train net stands, in Caffe's words."""
    for name in ("train_net_param", "train_net", "net_param"):
        if solver.HasField(name):
            return f"specified in {name}." if name.endswith("param") else f"from {name} file: {solver.train_net}"
    return f"from net file: {solver.net}"


def _test_source_of(solver: Any, index: int) -> str:
    """Where a test net stands, in Caffe's words."""
    if index < len(solver.test_net_param):
        return "test_net_param"
    index -= len(solver.test_net_param)
    if index < len(solver.test_net):
        return f"test_net file: {solver.test_net[index]}"
    return "net_param" if solver.HasField("net_param") else f"net file: {solver.net}"


def _as_caffe_runs_it(solver: Any, flags: Flags, prefix: str) -> Any:
    """The SolverParameter that Caffe logs: with what the command line and its own upgrades add."""
    made = messages.SolverParameter()
    made.CopyFrom(solver)
    if made.HasField("solver_type"):
        made.type = dict(zip(ENUMS["SolverType"].values(), KEPT, strict=True))[made.solver_type]
        made.ClearField("solver_type")
    made.snapshot_prefix = prefix
    made.train_state.level = flags.number("level")
    made.train_state.stage.extend(flags["stage"].split(","))
    if flags.listed("gpu"):
        made.device_id = int(flags.listed("gpu")[0])
    if flags["weights"]:
        del made.weights[:]
        made.weights.append(flags["weights"])
    return made


def run(flags: Flags) -> None:
    """Train.  Raises UsageError and all that a Solver raises."""
    from siamplex.engine.training.occupied import AS_CAFFE
    from siamplex.engine.training.options import TrainOptions
    from siamplex.engine.training.solver import Solver
    from siamplex.schema import prototxt

    path = Path(flags.needed("solver", "a solver definition to train"))
    if flags["snapshot"] and flags["weights"]:
        raise UsageError("caffe train: give a snapshot to resume or weights to finetune, not both")
    p = prototxt.read(path, "SolverParameter").message
    device, prefix = device_of(flags, _by_solver(p)), _prefix(path, str(p.snapshot_prefix))
    log = CaffeLog(int(p.display), prefix)
    as_run = _as_caffe_runs_it(p, flags, prefix)
    info(f"Initializing solver from parameters: \n{message_text(as_run)}", "solver.cpp:45")
    solver = Solver(
        path,
        TrainOptions(
            weights=tuple(Path(w) for w in flags.listed("weights")),
            snapshot=Path(flags["snapshot"]) if flags["snapshot"] else None,
            device=device,
            snapshot_prefix=prefix,
            outside=True,  # scripts name what they like; so did the tool
            level=flags.number("level"),
            stages=tuple(flags.listed("stage")),
            signals={
                signal.SIGINT: flags.effect("sigint_effect"),
                signal.SIGHUP: flags.effect("sighup_effect"),
                signal.SIGTERM: STOP,
            },
            watcher=log,
            allow_unfilled=flags.allow_unfilled,
            existing=AS_CAFFE,  # a script that trains twice writes over its snapshots
            unfilled_option=f"-{UNFILLED}",
            tables=False,  # the tool writes snapshots and its log, no more
            quiet=True,
        ),
    )
    names = [name for named in as_run.weights for name in named.split(",") if name]
    files = dict(zip(names, solver.options.weights or solver.file.weight_files(), strict=True))
    log.built(solver, files, as_run.train_state)
    if flags["snapshot"]:
        info(f"Resuming from {flags['snapshot']}")
    info("Starting Optimization", "caffe.cpp:239")
    info(f"Solving {solver.net.name}", "solver.cpp:289")
    info(f"Learning Rate Policy: {p.lr_policy}", "solver.cpp:290")
    try:
        solver.solve()
    except Stopped:  # no failure to Caffe
        info("Optimization stopped early.", "solver.cpp:0")
        return
    info("Optimization Done.", "solver.cpp:332")
    info("Optimization Done.", "caffe.cpp:250")


def _by_solver(solver: object) -> str:
    """The device a solver asks for; the CPU, with a word, where this machine has no GPU."""
    from siamplex.schema.messages import enum_name

    if not solver.HasField("solver_mode") or enum_name(solver, "solver_mode") != "GPU":  # type: ignore[attr-defined]
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return f"cuda:{solver.device_id}"  # type: ignore[attr-defined]
    say("caffe train: the solver asks for a GPU and there is none that torch can use: on the CPU instead")
    return "cpu"


def _prefix(solver: Path, given: str) -> str:
    """Caffe's rule: without a prefix, or with that of a folder, snapshots are named after the solver."""
    if not given:
        return str(solver.with_suffix(""))
    return str(Path(given) / solver.stem) if Path(given).is_dir() else given
