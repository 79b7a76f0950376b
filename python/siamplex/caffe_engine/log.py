"""Parses Caffe's log: losses, rates, tests, snapshots, and the check that failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Union

_LOSS = re.compile(r"\] Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
_RATE = re.compile(r"\] Iteration (\d+), lr = (\S+)")
_TESTING = re.compile(r"\] Iteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(r"\]\s+Test net output #(\d+): (\S+) = (\S+)")
_TEST_LOSS = re.compile(r"\] Test loss: (\S+)")
_SNAPSHOT = re.compile(r"\] Snapshotting solver state to (?:binary proto|HDF5) file (\S+)")
_EARLY = re.compile(r"\] Optimization stopped early")
_FATAL = re.compile(r"^F\d{4,8} [^\]]*\] (.*)")  # newer glog writes the year too
_HINTS = (
    (re.compile(r"mdb_status == 0 \(2 vs"), "an LMDB is not where the prototxt says; paths are of the working folder"),
    (re.compile(r"out of memory", re.IGNORECASE), "a smaller batch_size needs less"),
    (re.compile(r"driver version is insufficient|no CUDA-capable device"), "no usable GPU; --device cpu needs none"),
    (re.compile(r"Unknown layer type"), "the build lacks this layer"),
    (re.compile(r"Cannot copy param"), "the weights are those of another net"),
    (re.compile(r"CPU-only"), "a build without GPU support; --device cpu"),
)


@dataclass(frozen=True)
class Display:
    """A displayed loss and the rate of that iteration; Caffe's last display has no rate."""

    iteration: int
    loss: float
    rate: float | None


@dataclass(frozen=True)
class Scored:
    """One output of a test net."""

    iteration: int
    net: int
    output: str
    value: float


@dataclass(frozen=True)
class Saved:
    """A solverstate is being written."""

    path: str


@dataclass(frozen=True)
class StoppedEarly:
    """Training ended on a signal."""


Event = Union[Display, Scored, Saved, StoppedEarly]  # noqa: UP007  (an alias that Python 3.10 evaluates)


def read_log(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a Caffe log, in order, as soon as they are known."""
    pending: tuple[int, float] | None = None
    testing = (0, 0)
    for line in lines:
        if loss := _LOSS.search(line):
            if pending:
                yield Display(*pending, None)
            pending = int(loss.group(1)), _number(loss.group(2))
        elif rate := _RATE.search(line):
            if pending and int(rate.group(1)) == pending[0]:
                yield Display(*pending, _number(rate.group(2)))
                pending = None
        elif test := _TESTING.search(line):
            testing = int(test.group(1)), int(test.group(2))
        elif output := _OUTPUT.search(line):
            yield Scored(*testing, output.group(2), _number(output.group(3)))
        elif test_loss := _TEST_LOSS.search(line):
            yield Scored(*testing, "(loss)", _number(test_loss.group(1)))
        elif saved := _SNAPSHOT.search(line):
            yield Saved(saved.group(1))
        elif _EARLY.search(line):
            yield StoppedEarly()
    if pending:
        yield Display(*pending, None)


def _number(text: str) -> float:
    """A number as Caffe prints it, ``-nan`` included."""
    try:
        return float(text.rstrip(","))
    except ValueError:
        return float("nan")


def fatal(lines: Sequence[str]) -> str | None:
    """The check that failed, in Caffe's words and with advice where there is any; None where none did."""
    found = next((match.group(1).strip() for match in map(_FATAL.match, lines) if match), None)
    if found is None:
        return None
    hint = next((advice for pattern, advice in _HINTS if pattern.search(found)), None)
    return f"{found} ({hint})" if hint else found
