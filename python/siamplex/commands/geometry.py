"""``siamplex geometry``: circular order and separability of an embedding."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from siamplex.run.output_names import ending, without

NAME = "geometry"
HELP = "centroids, circular order against the paper's, separability, held-out accuracy"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("embedding", type=Path, help="npz from siamplex extract")
    parser.add_argument("--out", type=Path, help="JSON to write; the text goes beside it as .txt")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.embedding], [args.out, ending(without(args.out, ".json"), ".txt")] if args.out else []


def run(args: argparse.Namespace) -> None:
    """Compute, print, and write when asked."""
    from siamplex.geometry.embedding import read_embedding
    from siamplex.geometry.report import as_text, describe
    from siamplex.run.durable import write_text

    geometry = describe(read_embedding(args.embedding))
    text = as_text(geometry)
    print(text)
    if args.out:
        write_text(ending(without(args.out, ".json"), ".txt"), text + "\n")
        write_text(args.out, json.dumps(geometry, indent=1) + "\n")
