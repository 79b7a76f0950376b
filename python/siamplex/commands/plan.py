"""``siamplex plan``: what Make would do, what it takes, and what would be refused."""

from __future__ import annotations

import argparse

from siamplex.run.record import Told

NAME = "plan"
HELP = "list the steps of a make target with what they read, write and take, and every refusal; runs nothing"
_TARGET = "report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument(
        "words", nargs="*", metavar="TARGET|NAME=VALUE",
        help=f"targets ({_TARGET}) and settings, as make takes them: figures FACES=/data/NimStim OUT=nimstim",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only refuse what would be refused; silent if nothing is")


def run(args: argparse.Namespace) -> Told:
    """Look, tell; exit code 2 where anything would be refused."""
    from siamplex.errors import UsageError, printable
    from siamplex.plan.pipeline import TARGETS
    from siamplex.plan.planning import examine
    from siamplex.plan.settings import RunSettings
    from siamplex.plan.table import as_text
    from siamplex.run.progress import say

    targets = [word for word in args.words if "=" not in word] or [_TARGET]
    unknown = next((t for t in targets if t not in TARGETS), None)
    if unknown is not None:
        raise UsageError(f"expected one of the targets {', '.join(TARGETS)}, found '{unknown}'")
    settings = RunSettings.of([word for word in args.words if "=" in word])
    plan = examine(settings, targets, args.parser)
    if args.check:
        for text in plan.refusals:
            say(printable(f"siamplex: error: {text}"))
    else:
        print("\n".join(map(printable, as_text(plan, targets).split("\n"))))
    return Told(code=2 if plan.refusals else 0)
