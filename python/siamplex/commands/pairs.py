"""``siamplex pairs``: split the subjects, pair the images, write the LMDBs."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from siamplex.images import RESIZE_MODES

NAME = "pairs"
HELP = "split by subject and write all pairs as LMDBs that Caffe reads"
SKIPS = True


def _scale(text: str) -> float:
    """A positive factor: ``0.00390625`` or ``1/256``."""
    above, _, below = text.partition("/")
    try:
        value = float(above) / (float(below) if "/" in text else 1.0)
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a factor above 0, such as 1/256, found '{text}'")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--index", type=Path, default=Path("run/index.csv"), help="corpus index")
    parser.add_argument("--out", type=Path, default=Path("run/pairs"), help="folder to write (run/pairs)")
    parser.add_argument(
        "--layout", choices=("indexed", "stacked"), default="indexed",
        help="indexed: pairs of indices, pixels once; stacked: six-channel pairs of pixels (39 GB for 504 images)",
    )  # fmt: skip
    parser.add_argument("--split", type=Path, help="CSV subject,split to honour instead of drawing one")
    parser.add_argument(
        "--fractions", type=float, nargs=3, default=(0.8, 0.1, 0.1), metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the subjects (0.8 0.1 0.1)",
    )  # fmt: skip
    parser.add_argument("--balance", action="store_true", help="as many different as same pairs")
    parser.add_argument(
        "--pairs", type=int, dest="count", metavar="N",
        help="draw N pairs in place of all: all emotions' shares kept, every image in a pair (all)",
    )  # fmt: skip
    parser.add_argument("--size", type=int, default=227, help="pixels each way (227)")
    parser.add_argument("--resize", choices=RESIZE_MODES, default="stretch", help="how to get there (stretch)")
    parser.add_argument(
        "--mean", type=float, nargs=3, default=(104.0, 117.0, 123.0), metavar=("B", "G", "R"),
        help="mean subtracted (104 117 123)",
    )  # fmt: skip
    parser.add_argument(
        "--scale", type=_scale, default=1 / 256, metavar="X",
        help="factor on pixels less the mean, a number or a fraction (1/256; 1 for 0..255, at which AlexNet's "
        "weights and a rate of 0.0001 diverge)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of split and shuffle (1)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.index, *([args.split] if args.split else [])], [args.out]


def run(args: argparse.Namespace) -> None:
    """Write the pair store and print Table 1."""
    from siamplex.corpus_index import read_index
    from siamplex.errors import UsageError
    from siamplex.pairs.build import MAX_SIZE, PairOptions, build_pairs

    if not 8 <= args.size <= MAX_SIZE:
        raise UsageError(f"--size: expected 8 to {MAX_SIZE} pixels, found {args.size}")
    if args.count is not None and args.count < 1:
        raise UsageError(f"--pairs: expected at least 1, found {args.count}")
    options = PairOptions(
        layout=args.layout,
        size=args.size,
        resize=args.resize,
        mean=tuple(args.mean),
        scale=args.scale,
        fractions=tuple(args.fractions),
        balance=args.balance,
        seed=args.seed,
        count=args.count,
    )
    store = build_pairs(read_index(args.index), args.out, options, args.split)
    for name, lmdb in store.lmdbs.items():
        print(f"{args.out / lmdb['path']}: {lmdb['pairs']:,} pairs ({name}), {lmdb['bytes'] / 1e6:.2f} MB")
    if store.table:
        print(f"{args.out / store.table['path']}: the pixels, {store.table['bytes'] / 1e6:.1f} MB")
