"""The console command ``siamplex``: one subcommand for each step of the pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import siamplex
from siamplex.commands import ALL
from siamplex.errors import SiamplexError
from siamplex.progress import say
from siamplex.steps import Step


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(prog="siamplex", description=siamplex.__doc__)
    parser.add_argument("--version", action="version", version=f"siamplex {siamplex.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in ALL:
        sub = subparsers.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(sub)
        if hasattr(command, "files"):
            sub.add_argument(
                "--stamp", metavar="FILE", help="skip the step when inputs and options are as FILE remembers"
            )
        sub.set_defaults(module=command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code (2 for anything a person can put right)."""
    args = build_parser().parse_args(arguments)
    try:
        return _run(args)
    except SiamplexError as error:
        say(f"siamplex: error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("siamplex: interrupted; nothing half-written is left")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except MemoryError:
        say("siamplex: error: expected enough memory for this step, found too little")
        return 2


def _run(args: argparse.Namespace) -> int:
    stamp = getattr(args, "stamp", None)
    if not stamp:
        args.module.run(args)
        return 0
    from pathlib import Path

    options = {k: v for k, v in vars(args).items() if k not in ("stamp", "module", "workers")}
    inputs, outputs = args.module.files(args)
    step = Step(Path(stamp), options, inputs, outputs)
    if step.unchanged():
        say(f"{args.command}: unchanged, nothing to do")
        return 0
    args.module.run(args)
    inputs, outputs = args.module.files(args)
    Step(Path(stamp), options, inputs, outputs).record()
    return 0


if __name__ == "__main__":
    sys.exit(main())
