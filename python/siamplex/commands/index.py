"""``siamplex index``: list a corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from siamplex.corpus.crop import Crop
from siamplex.corpus.layout import BUILT_IN, find
from siamplex.emotion_words import chosen
from siamplex.errors import UsageError
from siamplex.record import Told

NAME = "index"
HELP = "index a folder of faces (NimStim, KDEF, RaFD, ...), or a CSV with columns path,subject,emotion"
SKIPS = True
_NAMED = 3  # files named of each reason ...
_NAMED_UNFIT = 20  # ... and of those whose names do not fit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("source", type=Path, help="folder of images, or CSV")
    parser.add_argument("--out", type=Path, default=Path("run/index.csv"), help="index to write (run/index.csv)")
    parser.add_argument(
        "--layout", metavar="NAME|FILE.toml",
        help=f"how files are named: {', '.join(BUILT_IN)}, or as FILE.toml says (the one that most images fit)",
    )  # fmt: skip
    parser.add_argument(
        "--emotions", type=_emotions, metavar="LIST",
        help="emotions to take, two at least: six,neutral or HA,SA,contempt (six: anger, disgust, fear, happiness, "
        "sadness, surprise, as far as they are there)",
    )  # fmt: skip
    parser.add_argument(
        "--crop", type=_crop, metavar="L,T,R,B",
        help="part of every picture to keep: its left, upper, right and lower edge in shares of width and height "
        "(0,0,1,1); siamplex contact shows what comes of it",
    )  # fmt: skip
    parser.add_argument(
        "--allow-near", action="store_true",
        help="keep near-duplicates of one subject with two emotions, which otherwise are an error in the labels",
    )  # fmt: skip
    parser.add_argument(
        "--explain", action="store_true", help="show what is read from the names of ten files, and write nothing"
    )


def _emotions(text: str) -> tuple[str, ...]:
    try:
        return chosen(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--emotions: ")) from None


def _crop(text: str) -> Crop:
    try:
        return Crop.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs; the images a CSV names count too, and folders that are linked."""
    from siamplex.corpus_folder import linked_folders
    from siamplex.corpus_table import listed_files

    further = listed_files(args.source) if args.source.is_file() else linked_folders(args.source)
    layout = [Path(args.layout)] if args.layout and args.layout.casefold() not in BUILT_IN else []
    return [args.source, *layout, *further], [] if args.explain else [args.out]


def run(args: argparse.Namespace) -> Told | None:
    """Write the index and say what it holds, and what is not in it."""
    from siamplex.corpus.explain import explain
    from siamplex.corpus_folder import OTHER_NAME
    from siamplex.corpus_index import check_wanted, fitted, index_folder, index_table, is_table, write_index
    from siamplex.emotions import EMOTIONS
    from siamplex.errors import printable

    table = is_table(args.source)
    if table and (args.layout or args.explain):
        raise UsageError(f"{'--layout' if args.layout else '--explain'}: expected a folder of images, found a table")
    layout = find(args.layout) if args.layout else None
    if args.explain:
        for line in explain(fitted(args.source, layout, strict=False)[0], args.source).splitlines():
            print(printable(line))
        return Told(idle=True)
    wanted, how = args.emotions or EMOTIONS, (args.crop, args.allow_near)
    index = index_table(args.source, wanted, *how) if table else index_folder(args.source, layout, wanted, *how)
    check_wanted(index, args.emotions, args.source)
    write_index(index, args.out)
    counts = ", ".join(f"{emotion} {count}" for emotion, count in index.counts().items())
    skipped = ", ".join(f"{count} {name} skipped" for name, count in sorted(index.skipped.items()))
    kind = " SYNTHETIC" if index.synthetic else ""
    print(f"{args.out}: {len(index)}{kind} images of {len(index.subjects)} subjects ({counts})"
          + (f"; {skipped}" if skipped else ""))  # fmt: skip
    if index.layout:
        print(index.layout)
    for reason, paths in sorted(index.left_out.items()):
        most = _NAMED_UNFIT if reason == OTHER_NAME else _NAMED
        named = ", ".join(path.relative_to(args.source).as_posix() for path in paths[:most])
        print(printable(f"left out, {reason}: {len(paths)} ({named}{', ...' if len(paths) > most else ''})"))
    return None
