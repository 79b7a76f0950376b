"""``siamplex weights``: the weights of iteration 0, and AlexNet's file that they may come from."""

from __future__ import annotations

import argparse
from pathlib import Path

from siamplex.run.output_names import ending, without

NAME = "weights"
HELP = "write starting weights: AlexNet's conv1-3, told by their content, or a stated substitute"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--deploy", type=Path, default=Path("prototxt/deploy.prototxt"), help="the tower")
    parser.add_argument("--out", type=Path, default=Path("run/weights/init.caffemodel"), help="file to write")
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="pair store that says whether faces are drawn "
                        "(pairs/ of the run that --out lies in)")  # fmt: skip
    add_source_arguments(parser)
    parser.add_argument("--seed", type=int, default=1, help="seed of what is drawn at random (1)")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say where conv1-3 come from."""
    parser.add_argument(
        "--alexnet", type=Path, metavar="FILE",
        help="AlexNet's conv1-3: bvlc_alexnet.caffemodel, or a caffemodel, ONNX model or npz that holds them",
    )  # fmt: skip
    parser.add_argument("--alexnet-if-there", type=Path, metavar="FILE", help="the same, where FILE exists")
    parser.add_argument(
        "--or-substitute", action="store_true",
        help="without such a file, start from the substitute; drawn faces do so without being told",
    )  # fmt: skip
    parser.add_argument(
        "--accept-other-weights", action="store_true", help="take weights of AlexNet's shapes that are not AlexNet's"
    )


def _source(args: argparse.Namespace) -> list[Path]:
    """The file named, or the one to look for."""
    found = args.alexnet or args.alexnet_if_there
    return [found] if found else []


def _pairs(args: argparse.Namespace) -> Path:
    return Path(args.pairs or args.out.parent.parent / "pairs")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.deploy, _pairs(args) / "pairs.json", *_source(args)], [
        args.out,
        ending(without(args.out, ".caffemodel"), ".json"),
    ]


def run(args: argparse.Namespace) -> None:
    """Write the caffemodel and say what it is."""
    from siamplex.weights.initial import write_initial
    from siamplex.weights.start import start_from

    source = start_from(args.alexnet, args.alexnet_if_there, args.or_substitute, _pairs(args))
    made = write_initial(args.deploy, args.out, source, args.seed, args.accept_other_weights)
    print(f"{made.path}: {made.note}")
