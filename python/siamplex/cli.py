"""The console command ``siamplex``: one subcommand for each step of the pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import siamplex
from siamplex.commands import ALL
from siamplex.errors import SiamplexError, Stopped
from siamplex.progress import say
from siamplex.record import FILE as RECORD
from siamplex.record import Recording, Told, recorded_options, run_of
from siamplex.steps import step_of
from siamplex.stopping import terminable


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(prog="siamplex", description=siamplex.__doc__)
    parser.add_argument("--version", action="version", version=f"siamplex {siamplex.__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in ALL:
        sub = subparsers.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(sub)
        if getattr(command, "SKIPS", False):
            sub.add_argument(
                "--stamp", metavar="FILE", help="skip the step when inputs and options are as FILE remembers"
            )
        sub.set_defaults(module=command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code (2 for anything a person can put right)."""
    args = build_parser().parse_args(arguments)
    try:
        with terminable():
            return _run(args)
    except Stopped as stopped:
        say(f"siamplex: {stopped}")
        return stopped.exit_code
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
    if stamp and step_of(args).unchanged():
        say(f"{args.command}: unchanged, nothing to do")
        return 0
    code = _recorded(args)
    if stamp:
        step_of(args).record()
    return code


def _recorded(args: argparse.Namespace) -> int:
    """Run the command and note in the run's record what it did, also where it failed."""
    recording = Recording(args.command, recorded_options(args))
    outcome, told = "done", Told()
    try:
        told = args.module.run(args) or told
        recording.facts = told.facts
        return told.code
    except Stopped as stopped:
        outcome = str(stopped)
        raise
    except SiamplexError as error:
        outcome = f"error: {error}"
        raise
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        if hasattr(args.module, "files") and not told.idle:
            inputs, outputs = args.module.files(args)
            owners = [args.module.run_folder(args)] if hasattr(args.module, "run_folder") else map(run_of, outputs)
            run = next((found for found in owners if found), None)
            if run and (outcome == "done" or (run / RECORD).is_file()):
                recording.close(run, inputs, outputs, outcome)


if __name__ == "__main__":
    sys.exit(main())
