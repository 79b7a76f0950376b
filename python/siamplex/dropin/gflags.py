"""Parses command lines as gflags does, for ``caffe`` and the tools beside it: typed flags anywhere among the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from siamplex.errors import UsageError

# glog's, which scripts of that era pass along; this log goes to standard error in any case
_GLOG_SWITCHES = frozenset({"logtostderr", "alsologtostderr"})
_GLOG_VALUES = frozenset({"minloglevel", "stderrthreshold", "v", "log_dir", "vmodule"})
_TRUE, _FALSE = ("true", "1", "t", "yes", "y"), ("false", "0", "f", "no", "n")
Value = bool | int | str


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line: the words that are no flags, and each flag's value, of the kind its default has."""

    words: list[str]
    flags: dict[str, Value]

    def on(self, name: str) -> bool:
        """A switch."""
        return bool(self.flags[name])

    def number(self, name: str) -> int:
        """A whole number, below 0 counted as 0."""
        return max(int(self.flags[name]), 0)

    def text(self, name: str) -> str:
        """A text."""
        return str(self.flags[name])


def parse(tool: str, arguments: Sequence[str], defaults: Mapping[str, Value]) -> CommandLine:
    """``-name``, ``--name``, ``-noname``, ``-name=value`` and, but for switches, ``-name value``; ``--`` ends them.

    A dash inside a name is as good as an underscore.  glog's own flags are passed over.  Raises UsageError for a flag
    the tool does not have, or a value of another kind.
    """
    words: list[str] = []
    flags = dict(defaults)
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        written, equals, value = word.lstrip("-").partition("=")
        name = written.replace("-", "_")
        if name.removeprefix("no") in _GLOG_SWITCHES:
            continue
        bare = name.removeprefix("no") if name not in flags else name
        if isinstance(flags.get(bare), bool):
            if bare != name and equals:
                raise UsageError(f"{tool}: flag '-{written}' takes no value")
            flags[bare] = bare == name and (not equals or _switch(tool, written, value))
            continue
        if name not in flags and name not in _GLOG_VALUES:
            raise UsageError(f"{tool}: unknown command line flag '{written}' (known: {', '.join(defaults)})")
        if not equals:
            if not rest:
                raise UsageError(f"{tool}: flag '-{written}' is missing its value")
            value = rest.pop(0)
        if name in flags:
            flags[name] = _number(tool, written, value) if isinstance(flags[name], int) else value
    return CommandLine(words, flags)


def _switch(tool: str, name: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise UsageError(f"{tool}: -{name}: expected true or false, found '{value}'")


def _number(tool: str, name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"{tool}: -{name}: expected a whole number, found '{value}'") from None
