"""``siamplex faces``: draw the stand-in corpus."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from siamplex.corpus.emotions import PAPER_COUNTS

NAME = "faces"
HELP = "draw a synthetic stand-in corpus in NimStim's layout (01F_AN_C.BMP ...)"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("folder", type=Path, help="where the images go")
    parser.add_argument("--actors", type=int, default=43, help="number of actors (43)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all that is drawn (1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (all cores)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [], [args.folder]


def run(args: argparse.Namespace) -> None:
    """Draw, at the paper's counts for 43 actors and in proportion for others."""
    from siamplex.faces.corpus import draw_corpus, scaled_counts

    counts = scaled_counts(PAPER_COUNTS, args.actors)
    portraits = draw_corpus(args.folder, counts, args.actors, args.seed, args.workers)
    print(f"{args.folder}: {len(portraits)} SYNTHETIC faces of {args.actors} actors; see contact_sheet.png")
