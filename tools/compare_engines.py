"""Run one solver on the embedded engine and on a real caffe binary, and hold the two against each other.

Both start from the same weights and read the same LMDBs.  Each iteration's loss and each layer's final
weights are compared; the verdict states its tolerances.  Dropout and random crops differ by nature (each
engine has its own random stream), so they are taken out of a copy of the net unless --keep-random.

    CAFFE_BIN=/path/to/caffe python tools/compare_engines.py --solver S --weights A,B [--iterations 50]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.caffe_engine.training import train as train_by_caffe
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import SiamplexError, UsageError
from siamplex.run.durable import write_text
from siamplex.run.progress import say
from siamplex.schema import prototxt
from siamplex.schema.messages import enum_value
from siamplex.schema.weights import read_caffemodel

SHOWN = 40  # rows of the loss table


@dataclass(frozen=True)
class LossRow:
    """Losses of one iteration and their difference, as a share of the largest of both and the mean loss."""

    iteration: int
    torch: float
    caffe: float
    deviation: float


@dataclass(frozen=True)
class WeightRow:
    """Largest difference of an array's values, as a share of its largest value.

    Biases that both twins add cancel out and stay near 0: at least a thousandth of the layer's largest.
    """

    array: str
    deviation: float


def without_random(net: Any) -> list[str]:
    """Take dropout layers and random transforms out of a NetParameter; returns their names."""
    gone = []
    renamed: dict[str, str] = {}
    layers = []
    for layer in net.layer:
        for i, bottom in enumerate(layer.bottom):
            layer.bottom[i] = renamed.get(bottom, bottom)
        if layer.type == "Dropout":
            gone.append(layer.name)
            if layer.top[0] != layer.bottom[0]:
                renamed[layer.top[0]] = layer.bottom[0]
            continue
        if layer.transform_param.mirror or layer.transform_param.crop_size:
            gone.append(f"{layer.name}'s mirror and crop")
            layer.transform_param.ClearField("mirror")
            layer.transform_param.ClearField("crop_size")
        layers.append(type(layer).FromString(layer.SerializeToString()))
    del net.layer[:]
    net.layer.extend(layers)
    return gone


def write_solvers(args: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Solvers for both engines that differ only in where their snapshots go."""
    source = prototxt.read(args.solver, "SolverParameter")
    solver = source.message
    if not solver.net:
        raise UsageError(f"{args.solver}: expected a solver that names its net, found none")
    net = prototxt.read(source.find(solver.net), "NetParameter")
    if not args.keep_random:
        gone = without_random(net.message)
        if gone:
            say(f"compared without what is random: {', '.join(gone)} (--keep-random keeps it)")
    prototxt.write(folder / "net.prototxt", net.message)
    solver.net = str(folder / "net.prototxt")
    solver.max_iter, solver.display, solver.average_loss = args.iterations, 1, 1
    solver.snapshot, solver.snapshot_after_train = 0, True
    solver.solver_mode = enum_value("SolverMode", "CPU" if args.caffe_device == "cpu" else "GPU")
    for field in ("test_iter", "test_interval", "test_initialization", "weights"):
        solver.ClearField(field)
    paths = {}
    for engine in ("torch", "caffe"):
        (folder / engine).mkdir()
        solver.snapshot_prefix = str(folder / engine / "snap")
        paths[engine] = folder / f"{engine}.prototxt"
        prototxt.write(paths[engine], solver)
    return paths


def compare(args: argparse.Namespace) -> tuple[list[LossRow], list[WeightRow]]:
    """Train on both engines; rows of losses and of final weights."""
    weights = tuple(Path(w) for w in args.weights.split(",") if w)
    with tempfile.TemporaryDirectory(prefix="siamplex_") as top:
        folder = Path(top)
        solvers = write_solvers(args, folder)
        options = TrainOptions(
            weights=weights, device=args.device, shortcut=not args.no_shortcut, outside=True, quiet=not args.verbose
        )
        Solver(solvers["torch"], options).solve()
        train_by_caffe(solvers["caffe"], weights, None, args.caffe_device, outside=True)
        losses = [read_losses(folder / engine / "snap_losses.csv") for engine in ("torch", "caffe")]
        models = [
            read_caffemodel(folder / engine / f"snap_iter_{args.iterations}.caffemodel")
            for engine in ("torch", "caffe")
        ]
        return loss_rows(*losses), weight_rows(*models)


def loss_rows(ours: list[Any], theirs: list[Any]) -> list[LossRow]:
    """Losses side by side."""
    mean = sum(abs(row[1]) for row in theirs) / len(theirs)
    return [
        LossRow(a[0], a[1], b[1], abs(a[1] - b[1]) / max(abs(a[1]), abs(b[1]), mean, 1e-12))
        for a, b in zip(ours, theirs, strict=True)
    ]


def weight_rows(ours: dict[str, Any], theirs: dict[str, Any]) -> list[WeightRow]:
    """Final weights side by side; arrays that Caffe repeats for a twin are compared once."""
    rows = []
    for name, arrays in ours.items():
        largest = max(float(np.abs(b).max(initial=0)) for b in theirs[name])
        for index, (a, b) in enumerate(zip(arrays, theirs[name], strict=True)):
            scale = max(float(np.abs(b).max(initial=0)), 1e-3 * largest, 1e-12)
            rows.append(WeightRow(f"{name}[{index}]", float(np.abs(a - b.reshape(a.shape)).max(initial=0)) / scale))
    return rows


def show(losses: list[LossRow], weights: list[WeightRow], args: argparse.Namespace) -> tuple[str, bool]:
    """The tables and verdict as text, and whether all is within tolerance."""
    step = max(1, -(-len(losses) // SHOWN))
    lines = [f"{'iteration':>9}{'torch':>14}{'caffe':>14}{'deviation':>12}"]
    for row in losses[::step] if losses[-1] in losses[::step] else [*losses[::step], losses[-1]]:
        lines.append(f"{row.iteration:>9}{row.torch:>14.6g}{row.caffe:>14.6g}{row.deviation:>12.2e}")
    lines.append(f"\n{'array':<20}{'deviation':>12}")
    lines += [f"{row.array:<20}{row.deviation:>12.2e}" for row in weights]
    worst = max(row.deviation for row in losses), max(row.deviation for row in weights)
    same = worst[0] <= args.loss_tolerance and worst[1] <= args.weight_tolerance
    lines.append(
        f"\n{'SAME' if same else 'DIFFERENT'}: losses within {worst[0]:.2e} (tolerance {args.loss_tolerance:g} of the "
        f"loss), weights within {worst[1]:.2e} (tolerance {args.weight_tolerance:g} of each array's largest value)"
    )
    return "\n".join(lines), same


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 when the engines differ by more than the tolerances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--solver", type=Path, required=True, help="solver prototxt")
    parser.add_argument("--weights", default="", help="caffemodels to start from, comma-separated")
    parser.add_argument("--iterations", type=int, default=50, help="(50)")
    parser.add_argument("--caffe", help="the binary (CAFFE_BIN, or caffe on the PATH)")
    parser.add_argument("--device", default="cpu", help="of the embedded engine (cpu)")
    parser.add_argument("--caffe-device", default="cpu", help="of the binary: cpu, cuda:N (cpu)")
    parser.add_argument("--no-shortcut", action="store_true", help="every layer at every iteration")
    parser.add_argument("--keep-random", action="store_true", help="leave dropout and random crops in")
    parser.add_argument("--loss-tolerance", type=float, default=1e-4, help="share of the loss (1e-4)")
    parser.add_argument("--weight-tolerance", type=float, default=1e-3, help="share of an array's largest (1e-3)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--verbose", action="store_true", help="the embedded engine's log too")
    args = parser.parse_args(arguments)
    if args.caffe:
        os.environ["CAFFE_BIN"] = args.caffe
    try:
        losses, weights = compare(args)
    except SiamplexError as error:
        print(f"compare_engines: error: {error}", file=sys.stderr)
        return error.exit_code
    text, same = show(losses, weights, args)
    print(text)
    if args.out:
        rows = {"losses": [asdict(r) for r in losses], "weights": [asdict(r) for r in weights], "same": same}
        write_text(args.out, json.dumps(rows, indent=1) + "\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
