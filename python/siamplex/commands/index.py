"""``siamplex index``: list a corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "index"
HELP = "index a NimStim folder, or a CSV with columns path,subject,emotion"
SKIPS = True
_NAMED = 3  # files named of each reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("source", type=Path, help="folder of images, or CSV")
    parser.add_argument("--out", type=Path, default=Path("run/index.csv"), help="index to write (run/index.csv)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs; the images a CSV names count too, and folders that are linked."""
    from siamplex.corpus.folder import linked_folders
    from siamplex.corpus.table import listed_files

    further = listed_files(args.source) if args.source.is_file() else linked_folders(args.source)
    return [args.source, *further], [args.out]


def run(args: argparse.Namespace) -> None:
    """Write the index and say what it holds, and what is not in it."""
    from siamplex.corpus.index import index_folder, index_table, is_table, write_index
    from siamplex.errors import printable

    index = index_table(args.source) if is_table(args.source) else index_folder(args.source)
    write_index(index, args.out)
    counts = ", ".join(f"{emotion} {count}" for emotion, count in index.counts().items())
    skipped = ", ".join(f"{count} {name} skipped" for name, count in sorted(index.skipped.items()))
    kind = " SYNTHETIC" if index.synthetic else ""
    print(f"{args.out}: {len(index)}{kind} images of {len(index.subjects)} subjects ({counts})"
          + (f"; {skipped}" if skipped else ""))  # fmt: skip
    for reason, paths in sorted(index.left_out.items()):
        named = ", ".join(path.relative_to(args.source).as_posix() for path in paths[:_NAMED])
        print(printable(f"left out, {reason}: {len(paths)} ({named}{', ...' if len(paths) > _NAMED else ''})"))
