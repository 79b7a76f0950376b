"""``siamplex train``: run a solver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamplex.run.record import Told

if TYPE_CHECKING:  # torch is loaded only where a net runs
    from siamplex.engine.training.solver import Solver

PATIENCE = 4
NAME = "train"
HELP = "train as a Caffe solver says, on the embedded engine or a caffe binary"


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(",") if part)


def _iterations(text: str) -> frozenset[int]:
    return frozenset(int(part) for part in text.split(",") if part)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of tests, found {number}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--solver", type=Path, required=True, help="solver prototxt")
    parser.add_argument("--weights", type=_paths, default=(), help="caffemodels to start from, comma-separated")
    parser.add_argument("--snapshot", type=Path, help="solverstate to resume from")
    parser.add_argument("--resume", action="store_true", help="resume this run's newest whole snapshot, if any")
    parser.add_argument("--overwrite", action="store_true",
                        help="remove the snapshots of another run under the solver's snapshot_prefix")  # fmt: skip
    parser.add_argument("--engine", choices=("torch", "caffe"), default="torch", help="(torch)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N (cpu); caffe: cuda:N,M or cuda:all too")
    parser.add_argument("--seed", type=int, help="instead of the solver's random_seed")
    parser.add_argument("--snapshot-at", type=_iterations, default=frozenset(), metavar="N,N,...",
                        help="further iterations to snapshot at, 0 included")  # fmt: skip
    parser.add_argument("--lean-snapshots", action="store_true",
                        help="leave frozen image tables out of snapshots (Caffe cannot resume from these)")  # fmt: skip
    parser.add_argument("--keep-states", type=int, default=0, metavar="N",
                        help="keep only the newest N solverstates (0: all)")  # fmt: skip
    parser.add_argument("--no-shortcut", action="store_true",
                        help="run every layer at every iteration, the direct way")  # fmt: skip
    parser.add_argument("--early-stop", action="store_true",
                        help="end when validation loss no longer falls; the best snapshot is the result")  # fmt: skip
    parser.add_argument("--patience", type=_count, default=PATIENCE, metavar="N",
                        help=f"tests without improvement that --early-stop allows ({PATIENCE})")  # fmt: skip
    parser.add_argument("--force-start", action="store_true",
                        help="train even where the first steps, tried beforehand, make the loss explode")  # fmt: skip
    parser.add_argument("--allow-unfilled", action="store_true",
                        help="let layers that never learn stay as their fillers made them")  # fmt: skip
    parser.add_argument("--amp", action="store_true",
                        help="multiply in bfloat16: faster on CUDA, no longer Caffe's numbers")  # fmt: skip
    parser.add_argument("--allow-outside", action="store_true",
                        help="let prototxts name paths beyond the working folder, their own and the run's")  # fmt: skip


def _prefix(args: argparse.Namespace) -> str:
    from siamplex.errors import SiamplexError
    from siamplex.schema import prototxt

    try:
        return str(prototxt.read(args.solver, "SolverParameter").message.snapshot_prefix)
    except SiamplexError:
        return ""


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs; of the outputs the newest snapshot and the losses."""
    from siamplex.engine.training.snapshot import SnapshotPaths, own
    from siamplex.schema import prototxt

    inputs = [args.solver, *args.weights, *([args.snapshot] if args.snapshot else [])]
    prefix = _prefix(args)
    if not prefix:
        return inputs, []
    net = str(prototxt.read(args.solver, "SolverParameter").message.net)
    outputs = [Path(f"{prefix}_{name}") for name in ("losses.csv", "test.csv", "learning.csv", "result.json")]
    for iteration in own(prefix)[-1:]:
        outputs += [*SnapshotPaths.of(prefix, iteration)]
    return [*inputs, *([Path(net)] if net else [])], outputs


def run(args: argparse.Namespace) -> Told:
    """Train to max_iter."""
    if args.engine == "caffe":
        return _by_caffe(args)
    from siamplex.engine.training.occupied import REFUSE, REMOVE
    from siamplex.engine.training.options import TrainOptions
    from siamplex.engine.training.process_group import leave_process_group
    from siamplex.engine.training.solver import Solver
    from siamplex.run.progress import say

    solver = Solver(
        args.solver,
        TrainOptions(
            weights=args.weights,
            snapshot=args.snapshot,
            resume=args.resume,
            existing=REMOVE if args.overwrite else REFUSE,
            device=args.device,
            seed=args.seed,
            snapshot_at=args.snapshot_at,
            lean=args.lean_snapshots,
            keep_states=args.keep_states,
            shortcut=not args.no_shortcut,
            amp=args.amp,
            outside=args.allow_outside,
            check_start=not args.force_start,
            allow_unfilled=args.allow_unfilled,
            early_stop=args.patience if args.early_stop else 0,
        ),
    )
    began = solver.iteration
    facts = {"engine": "torch", "device": str(solver.device), "seed": solver.seed, "amp": args.amp}
    if solver.group.world_size > 1:
        facts["processes"] = solver.group.world_size
    if args.resume and solver.finished:
        if solver.group.is_rank_zero:
            say(f"train: {args.solver} {_standing(solver)}")
        leave_process_group()
        return Told(idle=True)
    solver.solve()
    leave_process_group()
    if not solver.group.is_rank_zero:  # the leader keeps the record
        return Told(idle=True)
    if args.early_stop:
        facts["patience"] = args.patience
    return Told({**facts, "iterations": [began, solver.iteration], "losses": _losses(args)})


def _standing(solver: Solver) -> str:
    """Where a run stands of which there is nothing left to do."""
    from siamplex.engine.training.result import Result

    if solver.ended:
        lowest = f" of {solver.ended.lowest[1]:.4g}" if solver.ended.lowest else ""
        return (
            f"stopped early at iteration {solver.ended.last}: its result is iteration {solver.ended.iteration}, "
            f"with the lowest validation loss{lowest}"
        )
    known = Result.read(solver.prefix)
    if solver.early_stop and not (known and known.patience):
        folder = Path(solver.prefix).parent
        return (
            f"already stands at its last iteration, {solver.iteration}, trained without --early-stop (remove {folder} "
            "to train anew)"
        )
    return f"already stands at its last iteration, {solver.iteration}"


_EMBEDDED_ONLY = (
    "seed", "snapshot_at", "lean_snapshots", "keep_states", "no_shortcut", "amp", "early_stop", "force_start",
)  # fmt: skip


def check_engine(args: argparse.Namespace) -> None:
    """Refuse what only the embedded engine can do where the caffe binary is asked for.  Raises UsageError."""
    from siamplex.errors import UsageError

    given = [name for name in _EMBEDDED_ONLY if getattr(args, name)]
    if args.engine == "caffe" and given:
        raise UsageError(f"--{given[0].replace('_', '-')}: expected --engine torch for it, found --engine caffe")


def _by_caffe(args: argparse.Namespace) -> Told:
    """Train by the real binary; what only the embedded engine can do is refused."""
    from siamplex.caffe_engine.training import train
    from siamplex.run.progress import say

    check_engine(args)
    done = train(
        args.solver, args.weights, args.snapshot, args.device, args.resume, args.allow_outside, args.overwrite,
        args.allow_unfilled,
    )  # fmt: skip
    if args.resume and done.first == done.last:
        say(f"train: {args.solver} already stands at its last iteration, {done.last}")
        return Told(idle=True)
    facts = {"engine": "caffe", "caffe": done.binary.version, "device": args.device}
    return Told({**facts, "iterations": [done.first, done.last], "losses": _losses(args)})


def _losses(args: argparse.Namespace) -> dict[str, Any]:
    """First, lowest and last of the losses displayed."""
    from siamplex.engine.training.loss_log import read_losses

    rows = read_losses(f"{_prefix(args) or 'train'}_losses.csv")
    if not rows:
        return {}
    lowest = min(rows, key=lambda row: row[1])
    return {"first": list(rows[0][:2]), "lowest": list(lowest[:2]), "last": list(rows[-1][:2]), "rows": len(rows)}
