"""Parses a command's words with its own parser, and names the Make setting at fault in errors."""

from __future__ import annotations

import argparse
import io
import re
from contextlib import redirect_stderr, redirect_stdout

from siamplex.errors import UsageError
from siamplex.plan.pipeline import Command

# which setting an option's value comes from
SETTING_OF = {
    "--layout": "LAYOUT", "--size": "SIZE", "--scale": "SCALE", "--seed": "SEED", "--actors": "ACTORS",
    "--width": "WIDTH", "--batch-size": "BATCH", "--stage2-batch-size": "STAGE2_BATCH", "--base-lr": "BASE_LR",
    "--new-lr-mult": "NEW_LR_MULT", "--iterations": "ITERATIONS", "--stage2-iterations": "STAGE2_ITERATIONS",
    "--stage2-base-lr": "STAGE2_BASE_LR", "--snapshot": "SNAPSHOT", "--display": "DISPLAY",
    "--test-interval": "TEST_INTERVAL", "--device": "DEVICE", "--engine": "ENGINE", "--patience": "PATIENCE",
    "--seeds": "SEEDS", "--snapshot-at": "SHOWN", "--human": "HUMAN", "--alexnet": "ALEXNET",
}  # fmt: skip
_SET_BY_MAKE = frozenset("index out pairs run nets solvers solver weights stamp engine device resume".split())


def read(parser: argparse.ArgumentParser, command: Command) -> argparse.Namespace:
    """The options of a command, as it will read them.

    Raises UsageError that names the setting at fault: ``SIZE``, or ``NETS_FLAGS``, also where that would change what
    the Makefile sets itself.
    """
    bare, fault = _parse(parser, command.bare)
    if bare is None:
        raise UsageError(in_settings(fault))
    if not command.flags:
        return bare
    whole, fault = _parse(parser, command.words)
    if whole is None:
        raise UsageError(f"{command.flags_of}: {fault}")
    for name in sorted(_SET_BY_MAKE & set(vars(bare))):
        if command.head[0] != "report" and getattr(whole, name) != getattr(bare, name):
            raise UsageError(f"{command.flags_of}: expected no --{name}, which the Makefile sets")
    if command.head[0] == "train" and whole.snapshot:
        raise UsageError(f"{command.flags_of}: expected no --snapshot, since the Makefile gives --weights")
    return whole


def _parse(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> tuple[argparse.Namespace | None, str]:
    """The options, or what argparse says against them."""
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            return parser.parse_args(words), ""
    except SystemExit:
        told = said.getvalue().strip().rpartition("error: ")[2].replace("\n", " ")
        return None, told or "expected options, found a call for help"


def in_settings(fault: str, flags_of: str = "") -> str:
    """An error about an option, reworded for the setting that the option's value comes from."""
    named = re.match(r"(?:argument )?(--[\w-]+): (.*)", fault, re.DOTALL)
    if not named:
        return fault
    what = _plainly(named.group(2))
    setting = SETTING_OF.get(named.group(1))
    if setting:
        return f"{setting}: {what}"
    return f"{flags_of}: {named.group(1)}: {what}" if flags_of else fault


def _plainly(fault: str) -> str:
    """An argparse error about a value, in this package's wording."""
    kind = re.fullmatch(r"invalid (\w+) value: (.*)", fault, re.DOTALL)
    if kind:
        expected = {"int": "a whole number", "float": "a number", "_iterations": "iterations"}
        return f"expected {expected.get(kind.group(1), kind.group(1))}, found {kind.group(2)}"
    choice = re.fullmatch(r"invalid choice: (.*?) \(choose from (.*)\)", fault, re.DOTALL)
    if choice:
        return f"expected one of {choice.group(2)}, found {choice.group(1)}".replace("'", "")
    return fault


def in_bytes(count: float) -> str:
    """Bytes as people say them."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 10 * unit else f"{count / unit:.0f} {name}"
    return f"{max(1, round(count / 1e3))} kB"
