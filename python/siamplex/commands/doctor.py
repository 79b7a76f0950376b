"""``siamplex doctor``: what this machine can do."""

from __future__ import annotations

import argparse
from pathlib import Path

from siamplex.run.record import Told

NAME = "doctor"
HELP = "say what this machine can do (engines, GPU, Caffe, weights, disk) and what to do about what is missing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--folder", type=Path, default=Path(), help="where runs would go (here)")
    parser.add_argument(
        "--alexnet", type=Path, default=Path("weights/bvlc_alexnet.caffemodel"), metavar="FILE",
        help="where AlexNet's weights are looked for (weights/bvlc_alexnet.caffemodel)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> Told:
    """Look and tell; exit code 1 when something that all need is missing."""
    from siamplex.run.doctor import MISSING, as_text, examine

    checks = examine(args.folder, args.alexnet)
    print(as_text(checks))
    return Told(code=1 if any(c.needed and c.state == MISSING for c in checks) else 0)
