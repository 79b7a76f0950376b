"""``siamplex report``: one HTML page about a run."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "report"
READS = True  # it needs no write access to the run, where --out lies elsewhere
HELP = "write one self-contained HTML page: interactive embedding, figures, audit, geometry, provenance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--out", type=Path, help="file to write (RUN/report/report.html)")
    parser.add_argument("--embed-faces", action="store_true", help="embed photographs too; drawn faces always are")
    parser.add_argument("--alexnet", type=Path, metavar="FILE", help="AlexNet's weights, for the audit")


def _out(args: argparse.Namespace) -> Path:
    return Path(args.out or args.run / "report" / "report.html")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.run / "pairs" / "pairs.json", args.run / "features"], [_out(args)]


def run_folder(args: argparse.Namespace) -> Path:
    """The run that is reported."""
    return Path(args.run)


def run(args: argparse.Namespace) -> None:
    """Gather and write."""
    from siamplex.report.content import gather
    from siamplex.report.page import as_page
    from siamplex.run.durable import write_text

    content = gather(args.run, args.embed_faces, args.alexnet)
    page = as_page(content)
    write_text(_out(args), page)
    print(f"{_out(args)}: {len(page.encode()) / 1e6:.1f} MB, {len(content.snapshots)} snapshots; {content.faces}")
