"""Trains with the caffe binary: its log becomes progress, PREFIX_losses.csv and PREFIX_test.csv."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from siamplex.caffe_engine.binary import Binary, check_gpus, find_binary, gpus_of
from siamplex.caffe_engine.course import check_resumes, course_from, occupied, settings_of
from siamplex.caffe_engine.filled import check_solver
from siamplex.caffe_engine.log import Display, Event, Saved, Scored, StoppedEarly, fatal, read_log
from siamplex.engine.training.course import remove, standing
from siamplex.engine.training.loss_log import LossLog, open_logs
from siamplex.engine.training.run_lock import run_lock
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.errors import InputError, Stopped, TrainingError, UsageError
from siamplex.run.durable import discard
from siamplex.run.progress import Progress, say
from siamplex.run.stopping import StopRequest
from siamplex.schema import prototxt
from siamplex.schema.bounds import Bounds
from siamplex.schema.messages import enum_name
from siamplex.schema.prototxt import ANYWHERE
from siamplex.schema.weights import read_caffemodel, read_solverstate


@dataclass(frozen=True)
class CaffeRun:
    """The result of a run: the binary and its version, first and last iteration."""

    binary: Binary
    first: int
    last: int


def command(binary: Path, solver: Path, weights: tuple[Path, ...], snapshot: Path | None, gpus: list[str]) -> list[str]:
    """Arguments of ``caffe train``.  Raises UsageError."""
    if weights and snapshot:
        raise UsageError("give --snapshot to resume or --weights to fine-tune, not both")
    arguments = [str(binary), "train", f"-solver={solver}"]
    if weights:
        arguments.append(f"-weights={','.join(map(str, weights))}")
    if snapshot:
        arguments.append(f"-snapshot={snapshot}")
    if gpus:
        arguments.append(f"-gpu={','.join(gpus)}")
    return arguments


def newest_snapshot(prefix: str) -> Path | None:
    """The newest solverstate of ``prefix`` that is whole and has a whole caffemodel; Caffe writes no manifest."""
    folder, name = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(name) + r"_iter_(\d+)\.solverstate(?:\.h5)?")
    found = [(int(m.group(1)), p) for p in folder.glob("*.solverstate*") if (m := pattern.fullmatch(p.name))]
    for iteration, path in sorted(found, reverse=True):
        try:
            whole = read_solverstate(path).iteration == iteration
            read_caffemodel(SnapshotPaths.beside(path).caffemodel)
        except InputError:
            continue
        if whole:
            return path
    return None


def train(
    solver: Path,
    weights: tuple[Path, ...] = (),
    snapshot: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    outside: bool = False,
    overwrite: bool = False,
    allow_unfilled: bool = False,
) -> CaffeRun:
    """Run ``caffe train``; writes PREFIX_losses.csv, PREFIX_test.csv, PREFIX_run.json and PREFIX_caffe.log.

    SIGINT and SIGTERM are passed on as the SIGINT on which Caffe takes a snapshot and ends.  Raises
    InputError without a fitting binary, UsageError for a device it cannot use or where snapshots of another run are
    in the way, PrototxtError for a layer that never learns and is in no weights file (unless ``allow_unfilled``),
    TrainingError with Caffe's own words where it fails, Stopped after a signal.
    """
    source = prototxt.read(solver, "SolverParameter", ANYWHERE if outside else Bounds.of(solver))
    message = source.message
    prefix = str(message.snapshot_prefix) or "train"
    if message.snapshot and not message.snapshot_prefix:
        what = f"snapshot {message.snapshot} without a snapshot_prefix: nothing would be kept of the run"
        raise source.error(what, "snapshot", 0)
    source.bounds.check(prefix, solver)
    gpus = gpus_of(device)
    if not gpus and message.HasField("solver_mode") and enum_name(message, "solver_mode") == "GPU":
        raise UsageError(f"{solver}: expected solver_mode: CPU for --device cpu, found GPU")
    binary = find_binary()
    check_gpus(binary, gpus)
    settings = settings_of(source, weights)
    if resume and not snapshot:
        snapshot = newest_snapshot(prefix)
        try:
            check_resumes(prefix, snapshot, settings)
        except UsageError:
            if not overwrite:
                raise
            snapshot = None
    first = read_solverstate(snapshot).iteration if snapshot else 0
    if resume and snapshot and first >= message.max_iter:
        return CaffeRun(binary, first, first)
    check_solver(source, () if resume and snapshot else weights, snapshot, allow_unfilled)
    arguments = command(binary.path, solver, () if resume and snapshot else weights, snapshot, gpus)
    course = course_from(prefix, snapshot, first, settings)
    after = [n for n in standing(prefix) if n > first or not first]
    if after and not overwrite and not (resume and snapshot):
        raise occupied(prefix, after[-1], settings)
    with run_lock(prefix), StopRequest() as stop:
        remove(prefix, after if overwrite else ())
        for name in ("learning.csv", "result.json"):  # an earlier run's, by the embedded engine
            discard(Path(f"{prefix}_{name}"))
        course.write(prefix)
        say(" ".join(arguments))
        _Process(arguments, solver, prefix, first, int(message.max_iter), bool(message.test_iter)).run(stop)
    return CaffeRun(binary, first, int(message.max_iter))


class _Process:
    """One run of the binary: started, its log followed, its end judged."""

    def __init__(self, arguments: list[str], solver: Path, prefix: str, first: int, last: int, tests: bool) -> None:
        self._arguments, self._solver, self._prefix, self._first = arguments, solver, prefix, first
        self._tests = tests
        self._progress = Progress("caffe train", max(last - first, 0))
        self._tail: deque[str] = deque(maxlen=200)
        self._saved: str | None = None
        self._early = False

    def run(self, stop: StopRequest) -> None:
        with ExitStack() as stack:
            log = stack.enter_context(Path(f"{self._prefix}_caffe.log").open("a", encoding="utf-8"))
            tables = open_logs(stack, self._prefix, self._first, self._tests)
            # in its own session: a Ctrl-C reaches it once, passed on by this process
            process = stack.enter_context(
                subprocess.Popen(
                    self._arguments,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            )
            stop.pass_on(lambda: process.send_signal(signal.SIGINT))
            try:
                for event in read_log(self._lines(process, log)):
                    self._take(event, tables)
            except BaseException:
                process.kill()
                raise
        self._judge(process.returncode, stop)

    def _lines(self, process: subprocess.Popen[str], log: TextIO) -> Iterator[str]:
        assert process.stdout
        for line in process.stdout:
            log.write(line)
            self._tail.append(line.rstrip())
            yield line

    def _take(self, event: Event, tables: dict[str, LossLog]) -> None:
        if isinstance(event, Display):
            tables["losses"].row(event.iteration, event.loss, event.rate)
            done = event.iteration - self._first
            self._progress.step(max(done - self._progress.done, 0), f"loss {event.loss:.6g}")
        elif isinstance(event, Scored) and "test" in tables:
            tables["test"].row(event.iteration, event.net, event.output, event.value)
        elif isinstance(event, Saved):
            self._saved = event.path
        elif isinstance(event, StoppedEarly):
            self._early = True

    def _judge(self, code: int, stop: StopRequest) -> None:
        if code:
            what = fatal(list(self._tail)) or (self._tail[-1] if self._tail else "no word")
            how = f"signal {-code}" if code < 0 else f"exit {code}"
            raise TrainingError(f"{self._solver}: expected caffe to train it, found {how}: {what}")
        if stop.number is not None and self._early:
            where = f"--snapshot {self._saved} goes on from there" if self._saved else "it took no snapshot"
            raise Stopped(stop.number, f"caffe stopped by {signal.Signals(stop.number).name}; {where}")
        self._progress.close()
