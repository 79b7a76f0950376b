"""The console command ``siamplex``: one subcommand for each step of the pipeline."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import siamplex
from siamplex.commands import ALL
from siamplex.errors import SiamplexError, Stopped, StorageError
from siamplex.run.durable import require_writable
from siamplex.run.progress import say
from siamplex.run.record import FILE as RECORD
from siamplex.run.record import Recording, Told, recorded_options, run_of
from siamplex.run.steps import step_of
from siamplex.run.stopping import terminable

_FAULT = 70  # exit code of a fault of the program itself (EX_SOFTWARE of sysexits.h)


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
    parser = build_parser()
    args = parser.parse_args(arguments)
    args.parser = parser  # for commands that read the words of others
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
    except Exception:  # a fault of ours: audit's exit code 1 is not to be mistaken for it
        traceback.print_exc()
        return _FAULT


def _run(args: argparse.Namespace) -> int:
    stamp = getattr(args, "stamp", None)
    if stamp and step_of(args).unchanged():
        say(f"{args.command}: unchanged, nothing to do")
        return 0
    if hasattr(args.module, "files") and not getattr(args.module, "PRINTS", False):
        for path in args.module.files(args)[1]:
            require_writable(path)
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
                _close(recording, args, run, inputs, outputs, outcome)


def _close(
    recording: Recording,
    args: argparse.Namespace,
    run: Path,
    inputs: Sequence[Path],
    outputs: Sequence[Path],
    outcome: str,
) -> None:
    """Append to the run's record; a command that only reads the run does without where it cannot be written."""
    try:
        recording.close(run, inputs, outputs, outcome)
    except StorageError as error:
        if not getattr(args.module, "READS", False):
            raise
        say(f"{args.command}: not noted in the run's record ({error})")


if __name__ == "__main__":
    sys.exit(main())
