"""``siamplex multiverse``: every choice that the paper leaves open."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from siamplex.commands.weights import add_source_arguments

if TYPE_CHECKING:
    from siamplex.run.record import Told

NAME = "multiverse"
HELP = "train stage 1 with every choice that the paper leaves open, and with controls"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("run", type=Path, help="folder of the run whose faces and nets are used")
    parser.add_argument("--grid", type=Path, metavar="TOML", help="settings with their values (the paper's own)")
    size = parser.add_argument_group("how much of the grid (its own number of trainings)")
    size.add_argument("--cells", type=int, metavar="N", help="a balanced sample of N trainings")
    size.add_argument("--hours", type=float, metavar="H", help="a balanced sample of what H hours are enough for")
    size.add_argument("--full", action="store_true", help="all of it")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="processes of this machine (one a core), or how many a cluster has")  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS", help="train on a Dask cluster instead: tcp://host:8786")
    parser.add_argument("--human", type=Path, metavar="CSV", help="judgements of people to hold each cell against")
    parser.add_argument("--device", default="cpu", help="where conv3 is computed for the baselines (cpu)")
    add_source_arguments(parser)


def files(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Inputs and outputs."""
    source = [path for path in (args.alexnet, args.grid, args.human) if path]
    return [args.run / "pairs" / "pairs.json", *source], [args.run / "multiverse"]


def run_folder(args: argparse.Namespace) -> Path:
    """The run whose multiverse it is."""
    return Path(args.run)


def run(args: argparse.Namespace) -> Told:
    """Check, say what it takes, train, store; then say what all finished cells come to."""
    from siamplex.multiverse.answer import answer
    from siamplex.multiverse.grid import DEFAULTS
    from siamplex.multiverse.people import check_people
    from siamplex.multiverse.running import Multiverse, Request
    from siamplex.plan.speed import cores
    from siamplex.run.record import Told, check_run
    from siamplex.weights.start import start_from

    check_run(args.run)
    if args.human:
        check_people(args.run, args.human)
    request = Request(
        run=args.run,
        grid=args.grid or DEFAULTS,
        cells=args.cells,
        hours=args.hours,
        full=args.full,
        processes=cores() if args.workers is None else args.workers,
        scheduler=args.scheduler,
        alexnet=start_from(args.alexnet, args.alexnet_if_there, args.or_substitute, args.run / "pairs"),
        accept_other=args.accept_other_weights,
    )
    done = Multiverse(request).run()
    print(f"multiverse: {done.trainings} trainings done, {done.cells} cells in all, {done.diverged} of them diverged")
    found = answer(args.run, args.human, args.device)
    print(found.paragraph)
    return Told({"multiverse": {"trainings": done.trainings, "cells": done.cells, "diverged": done.diverged}})
