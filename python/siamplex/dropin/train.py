"""``caffe train``: a solver, with Caffe's log."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

from siamplex.dropin.devices import device_of
from siamplex.dropin.flags import UNFILLED, Flags
from siamplex.dropin.glog import info, number
from siamplex.engine.snapshot import SnapshotPaths
from siamplex.engine.watcher import Output, Watcher
from siamplex.errors import Stopped, UsageError
from siamplex.progress import say
from siamplex.stopping import STOP

_SOLVER, _SGD = "solver.cpp:0", "sgd_solver.cpp:0"


class CaffeLog(Watcher):
    """Writes what a training does as Caffe's log would have it."""

    def __init__(self, display: int) -> None:
        self._display = display
        self._last, self._last_iteration = time.monotonic(), -1

    def displayed(self, iteration: int, loss: float, rate: float | None, outputs: Sequence[Output]) -> None:
        now = time.monotonic()
        if rate is None:
            info(f"Iteration {iteration}, loss = {number(loss)}", _SOLVER)
            return
        spent, steps = max(now - self._last, 1e-9), iteration - self._last_iteration
        speed = f"{number(steps / spent)} iter/s, {number(spent)}s/{self._display} iters"
        info(f"Iteration {iteration} ({speed}), loss = {number(loss)}", _SOLVER)
        self._outputs("Train", outputs)
        info(f"Iteration {iteration}, lr = {number(rate)}", _SGD)
        self._last, self._last_iteration = now, iteration

    def testing(self, iteration: int, net: int) -> None:
        info(f"Iteration {iteration}, Testing net (#{net})", _SOLVER)

    def tested(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        if loss is not None:
            info(f"Test loss: {number(loss)}", _SOLVER)
        self._outputs("Test", outputs)

    def saving(self, paths: SnapshotPaths) -> None:
        kind = "HDF5" if paths.caffemodel.suffix == ".h5" else "binary proto"
        info(f"Snapshotting to {kind} file {paths.caffemodel}", _SOLVER)
        info(f"Snapshotting solver state to {kind} file {paths.solverstate}", _SGD)

    def _outputs(self, phase: str, outputs: Sequence[Output]) -> None:
        index = 0
        for output in outputs:
            for value in output.values:
                weighted = (
                    f" (* {number(output.weight)} = {number(output.weight * value)} loss)" if output.weight else ""
                )
                info(f"    {phase} net output #{index}: {output.name} = {number(value)}{weighted}", _SOLVER)
                index += 1


def run(flags: Flags) -> None:
    """Train.  Raises UsageError and all that a Solver raises."""
    from siamplex.engine.checkpoint import AS_CAFFE
    from siamplex.engine.memory import keep_freed_memory
    from siamplex.engine.solver import Solver, TrainOptions
    from siamplex.schema import prototxt

    path = Path(flags.needed("solver", "a solver definition to train"))
    if flags["snapshot"] and flags["weights"]:
        raise UsageError("caffe train: give a snapshot to resume or weights to finetune, not both")
    p = prototxt.read(path, "SolverParameter").message
    keep_freed_memory()
    solver = Solver(
        path,
        TrainOptions(
            weights=tuple(Path(w) for w in flags.listed("weights")),
            snapshot=Path(flags["snapshot"]) if flags["snapshot"] else None,
            device=device_of(flags, _by_solver(p)),
            snapshot_prefix=_prefix(path, str(p.snapshot_prefix)),
            outside=True,  # scripts name what they like; so did the tool
            level=flags.number("level"),
            stages=tuple(flags.listed("stage")),
            signals={
                signal.SIGINT: flags.effect("sigint_effect"),
                signal.SIGHUP: flags.effect("sighup_effect"),
                signal.SIGTERM: STOP,
            },
            watcher=CaffeLog(int(p.display)),
            allow_unfilled=flags.allow_unfilled,
            existing=AS_CAFFE,  # a script that trains twice writes over its snapshots
            unfilled_option=f"-{UNFILLED}",
            tables=False,  # the tool writes snapshots and its log, no more
            quiet=True,
        ),
    )
    for weights in flags.listed("weights"):
        info(f"Finetuning from {weights}")
    if flags["snapshot"]:
        info(f"Resuming from {flags['snapshot']}")
    info("Starting Optimization")
    info(f"Solving {solver.net.name}", _SOLVER)
    info(f"Learning Rate Policy: {p.lr_policy}", _SOLVER)
    try:
        solver.solve()
    except Stopped:  # no failure to Caffe
        info("Optimization stopped early.", _SOLVER)
        return
    info("Optimization Done.", _SOLVER)
    info("Optimization Done.")


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
