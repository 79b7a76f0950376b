"""``siamplex audit``: compare a run with the paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from siamplex.run.record import Told

NAME = "audit"
READS = PRINTS = True  # it needs no write access to the run; its table is printed, written where that can be
HELP = "hold a run's files against the paper, setting by setting; exit code 1 where a stated one differs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--out", type=Path, help="folder for audit.txt, audit.json, audit.html (RUN/audit)")
    parser.add_argument("--alexnet", type=Path, metavar="FILE", help="AlexNet's weights, to compare conv1-3 with")
    parser.add_argument("--all-records", action="store_true", help="look at every stacked record, not at a sample")


def _out(args: argparse.Namespace) -> Path:
    return Path(args.out or args.run / "audit")


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    return [args.run / "pairs" / "pairs.json"], [_out(args)]


def run_folder(args: argparse.Namespace) -> Path:
    """The run that is audited."""
    return Path(args.run)


def run(args: argparse.Namespace) -> Told:
    """Audit, print, write."""
    from siamplex.audit.audit import audit, differs
    from siamplex.audit.tables import as_json, as_text, summary
    from siamplex.errors import StorageError
    from siamplex.report.audit_page import as_page
    from siamplex.run.durable import require_writable, write_text
    from siamplex.run.progress import say

    out = _out(args)
    writable = True
    try:
        require_writable(out)
    except StorageError as error:
        if args.out:
            raise
        writable = False
        say(f"audit: printed only ({error}; --out names another folder)")
    findings = audit(args.run, args.alexnet, args.all_records)
    print(as_text(findings))
    told = Told({"audit": summary(findings)}, code=1 if differs(findings) else 0)
    if not writable:
        return told
    write_text(out / "audit.txt", as_text(findings, 110) + "\n")
    write_text(out / "audit.json", as_json(findings))
    write_text(out / "audit.html", as_page(findings, f"Audit of {args.run.resolve().name}"))
    return told
