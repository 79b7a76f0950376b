"""``siamplex caffe``: BVLC's commands and flags, on the embedded engine."""

from __future__ import annotations

import argparse

NAME = "caffe"
HELP = "take the place of BVLC's caffe tool: train, test, time, device_query with its flags"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All is left to the tool's own kind of flags."""
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="a command and flags, as caffe takes them")
    parser.prefix_chars = "\0"  # -solver is the tool's, not argparse's


def run(args: argparse.Namespace) -> None:
    """Run one of the tool's commands."""
    from siamplex.dropin import devices, test, timing, train
    from siamplex.dropin.flags import HELP_FLAGS, USAGE, parse

    if HELP_FLAGS & set(args.arguments):
        print(f"{USAGE}\n\n{HELP}")
        raise SystemExit(0)
    flags = parse(args.arguments)
    {"train": train.run, "test": test.run, "time": timing.run, "device_query": devices.query}[flags.command](flags)
