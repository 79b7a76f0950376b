"""``siamplex contact``: a contact sheet of an indexed corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "contact"
HELP = "draw the indexed faces by emotion on one sheet, cropped as they will be, to look at before training"
SKIPS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--index", type=Path, default=Path("run/index.csv"), help="corpus index")
    parser.add_argument("--out", type=Path, default=Path("run/contact.png"), help="PNG to write (run/contact.png)")
    parser.add_argument("--most", type=int, default=36, help="faces of each emotion at most (36)")
    parser.add_argument("--columns", type=int, default=12, help="faces in a row (12)")
    parser.add_argument("--side", type=int, default=96, help="pixels of a face each way (96)")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.index], [args.out]


def run(args: argparse.Namespace) -> None:
    """Draw and write the sheet."""
    import cv2

    from siamplex.corpus.contact import contact_sheet
    from siamplex.corpus_index import read_index
    from siamplex.durable import atomic_file
    from siamplex.errors import UsageError

    for name, low, high in (("most", 1, 1000), ("columns", 1, 60), ("side", 16, 512)):
        value = getattr(args, name)
        if not low <= value <= high:
            raise UsageError(f"--{name}: expected {low} to {high}, found {value}")
    if args.out.suffix.lower() != ".png":
        raise UsageError(f"--out: expected a name ending in .png, found {args.out}")
    index = read_index(args.index)
    sheet = contact_sheet(index, args.most, args.columns, args.side)
    written, data = cv2.imencode(".png", sheet)
    assert written
    with atomic_file(args.out) as handle:
        handle.write(data.tobytes())
    licence = "" if index.synthetic else "; it shows faces: mind the set's licence before passing it on"
    print(f"{args.out}: {sheet.shape[1]}x{sheet.shape[0]} pixels, {len(index.emotions)} emotions{licence}")
