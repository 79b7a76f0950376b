"""``siamplex weights``: the weights of iteration 0, and AlexNet's file that they may come from."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "weights"
HELP = "write starting weights: AlexNet's conv1-3 (verified), or a stated substitute"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--deploy", type=Path, default=Path("prototxt/deploy.prototxt"), help="the tower")
    parser.add_argument("--out", type=Path, default=Path("run/weights/init.caffemodel"), help="file to write")
    parser.add_argument(
        "--alexnet", type=Path, metavar="FILE",
        help="bvlc_alexnet.caffemodel; without it, or where it does not exist with --or-substitute, a substitute",
    )  # fmt: skip
    parser.add_argument("--or-substitute", action="store_true", help="do without --alexnet's file if it is absent")
    parser.add_argument("--seed", type=int, default=1, help="seed of what is drawn at random (1)")


def _alexnet(args: argparse.Namespace) -> Path | None:
    if args.alexnet and args.or_substitute and not args.alexnet.exists():
        return None
    found: Path | None = args.alexnet
    return found


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    inputs = [args.deploy, *([args.alexnet] if args.alexnet else [])]
    return inputs, [args.out, args.out.with_suffix(".json")]


def run(args: argparse.Namespace) -> None:
    """Write the caffemodel and say what it is."""
    from siamplex.weights.initial import write_initial

    made = write_initial(args.deploy, args.out, _alexnet(args), args.seed)
    print(f"{made.path}: {made.note}")
