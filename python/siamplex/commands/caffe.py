"""``siamplex caffe``: BVLC's commands and flags, and those of the tools beside it, on the embedded engine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

NAME = "caffe"
HELP = "take the place of BVLC's caffe tool (train, test, time, device_query) and of the tools beside it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All words are passed on: the tool parses its own flags."""
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="a command and flags, as caffe takes them")
    parser.prefix_chars = "\0"  # -solver is the tool's, not argparse's


def run(args: argparse.Namespace) -> None:
    """Run one of the tool's commands, or one of the tools."""
    from siamplex.dropin import devices, test, timing, train
    from siamplex.dropin.flags import HELP_FLAGS, USAGE, parse

    if HELP_FLAGS & set(args.arguments):
        print(f"{USAGE}\n\n{HELP}")
        raise SystemExit(0)
    tools = _tools()
    if args.arguments and args.arguments[0] in tools:
        tools[args.arguments[0]](args.arguments[1:])
        return
    flags = parse(args.arguments)
    {"train": train.run, "test": test.run, "time": timing.run, "device_query": devices.query}[flags.command](flags)


def _tools() -> dict[str, Callable[[Sequence[str]], None]]:
    from siamplex.dropin import compute_image_mean, convert_imageset, extract_features, upgrade

    return {
        convert_imageset.NAME: convert_imageset.run,
        compute_image_mean.NAME: compute_image_mean.run,
        extract_features.NAME: extract_features.run,
        upgrade.NET_TEXT: upgrade.net_text,
        upgrade.NET_BINARY: upgrade.net_binary,
        upgrade.SOLVER_TEXT: upgrade.solver_text,
    }
