"""The ``caffe`` engine: the real binary as a process, its log read into the same losses.csv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from siamplex.engine.loss_log import LossLog
from siamplex.errors import InputError, TrainingError, UsageError
from siamplex.progress import say
from siamplex.schema import prototxt

_LOSS = re.compile(r"Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
_RATE = re.compile(r"Iteration (\d+), lr = (\S+)")
_FATAL = re.compile(r"^F\d{4} .*?\] (.*)")


def find_binary() -> Path:
    """The caffe binary: $CAFFE_BIN, or ``caffe`` on the PATH.  Raises InputError."""
    named = os.environ.get("CAFFE_BIN")
    found = shutil.which(named or "caffe")
    if not found:
        raise InputError(named or "caffe", "the caffe binary (set CAFFE_BIN, or use --engine torch)", "none")
    return Path(found)


def command(binary: Path, solver: Path, weights: tuple[Path, ...], snapshot: Path | None, device: str) -> list[str]:
    """Arguments of ``caffe train``.  Raises UsageError."""
    if weights and snapshot:
        raise UsageError("give --snapshot to resume or --weights to fine-tune, not both")
    arguments = [str(binary), "train", f"-solver={solver}"]
    if weights:
        arguments.append(f"-weights={','.join(map(str, weights))}")
    if snapshot:
        arguments.append(f"-snapshot={snapshot}")
    if device.startswith("cuda"):
        arguments.append(f"-gpu={device.partition(':')[2] or '0'}")
    elif device != "cpu":
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, found '{device}'")
    return arguments


def read_log(lines: Iterable[str]) -> Iterator[tuple[int, float, float | None]]:
    """(iteration, loss, rate) of each display in a Caffe log; the last display has no rate."""
    pending: tuple[int, float] | None = None
    for line in lines:
        loss, rate = _LOSS.search(line), _RATE.search(line)
        if loss:
            if pending:
                yield (*pending, None)
            pending = int(loss.group(1)), float(loss.group(2))
        elif rate and pending and int(rate.group(1)) == pending[0]:
            yield (*pending, float(rate.group(2)))
            pending = None
    if pending:
        yield (*pending, None)


def train(solver: Path, weights: tuple[Path, ...], snapshot: Path | None, device: str) -> None:
    """Run ``caffe train``; writes PREFIX_losses.csv and PREFIX_caffe.log.

    Raises InputError without a binary, TrainingError (with Caffe's own words) where it fails.
    """
    message = prototxt.read(solver, "SolverParameter").message
    prefix = str(message.snapshot_prefix) or "train"
    arguments = command(find_binary(), solver, weights, snapshot, device)
    start = 0
    if snapshot:
        numbered = re.search(r"_iter_(\d+)\.solverstate$", snapshot.name)
        start = int(numbered.group(1)) if numbered else 0
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    say(" ".join(arguments))
    last: list[str] = []
    with (
        Path(f"{prefix}_caffe.log").open("w", encoding="utf-8") as log,
        LossLog(Path(f"{prefix}_losses.csv"), ["iteration", "loss", "lr"], start) as losses,
        subprocess.Popen(
            arguments, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, errors="replace"
        ) as process,
    ):

        def lines() -> Iterator[str]:
            assert process.stdout
            for line in process.stdout:
                log.write(line)
                last[:] = [*last[-20:], line.rstrip()]
                yield line

        for iteration, loss, rate in read_log(lines()):
            losses.row(iteration, loss, rate)
            say(f"iteration {iteration}, loss {loss:.6g}")
    if process.returncode:
        fatal = next((m.group(1) for m in map(_FATAL.match, last) if m), last[-1] if last else "no word")
        raise TrainingError(f"{solver}: expected caffe to train it, found exit {process.returncode}: {fatal}")
