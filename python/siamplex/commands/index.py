"""``siamplex index``: list a corpus."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

NAME = "index"
HELP = "index a NimStim folder, or a CSV with columns path,subject,emotion"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("source", type=Path, help="folder of images, or CSV")
    parser.add_argument("--out", type=Path, default=Path("run/index.csv"), help="index to write (run/index.csv)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs; the images a CSV names count too."""
    listed: list[Path] = []
    if args.source.is_file():
        try:
            with args.source.open(encoding="utf-8-sig", newline="") as handle:
                listed = [args.source.parent / row["path"] for row in csv.DictReader(handle)]
        except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError):
            listed = []  # run() says what is wrong with it
    return [args.source, *listed], [args.out]


def run(args: argparse.Namespace) -> None:
    """Write the index and say what it holds."""
    from siamplex.corpus_index import index_folder, index_table, write_index

    as_table = args.source.suffix.lower() == ".csv" and not args.source.is_dir()
    index = index_table(args.source) if as_table else index_folder(args.source)
    write_index(index, args.out)
    counts = ", ".join(f"{emotion} {count}" for emotion, count in index.counts().items())
    skipped = ", ".join(f"{count} {name} skipped" for name, count in sorted(index.skipped.items()))
    kind = " SYNTHETIC" if index.synthetic else ""
    print(f"{args.out}: {len(index)}{kind} images of {len(index.subjects)} subjects ({counts})"
          + (f"; {skipped}" if skipped else ""))  # fmt: skip
