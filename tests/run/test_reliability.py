"""Killed, full and crowded: what a person's machine does to a run."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from siamplex.engine.training import snapshot as snapshots
from tests.conftest import ROOT
from tests.engine.conftest import pair_lmdb, twin_solver  # noqa: F401  (fixtures)


@pytest.mark.slow
def test_killed_runs_end_like_an_unbroken_one():
    """tools/kill_runs.py, which kills fifty times when run by hand."""
    program = ROOT / "tools" / "kill_runs.py"
    done = subprocess.run([sys.executable, program, "--kills", "4", "--seed", "7"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills over" in done.stdout and "0 differences" in done.stdout


@pytest.fixture
def start():
    """Starts a training of a solver; whatever still runs in the end is killed."""
    processes = []

    def run(path: Path, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "siamplex", "train", "--solver", str(path), "--allow-unfilled", *more]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=path.parent, stderr=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def endless(twin_solver, tmp_path):  # noqa: F811
    """A run that goes on for minutes."""
    path = twin_solver()
    text = path.read_text().replace("max_iter: 12", "max_iter: 1000000").replace("snapshot: 6", "snapshot: 100")
    path.write_text(text.replace("base_lr: 0.05", "base_lr: 0"))
    return path


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_a_snapshot_and_a_word(twin_solver, tmp_path, start, number):  # noqa: F811
    process = start(endless(twin_solver, tmp_path))
    wait_for(tmp_path / "snap_iter_100.json")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    last = said.strip().splitlines()[-1]
    whole = snapshots.latest_whole(tmp_path / "snap")
    assert whole and f"stopped by {number.name} at iteration" in last
    assert f"--resume or --snapshot {whole.solverstate} goes on from there" in last
    assert "Traceback" not in said


def test_a_second_training_in_the_folder_is_refused(twin_solver, tmp_path, start):  # noqa: F811
    first = start(endless(twin_solver, tmp_path))
    try:
        wait_for(tmp_path / "snap_iter_100.json")
        second = start(tmp_path / "solver.prototxt")
        _, said = second.communicate(timeout=60)
        assert second.returncode == 2
        last = said.strip().splitlines()[-1]
        assert f"expected no other training in this folder, found process {first.pid} at it" in last
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    for file in tmp_path.glob("snap*"):
        file.unlink()
    third = start(tmp_path / "solver.prototxt")  # a lock does not outlive its process
    wait_for(tmp_path / "snap_losses.csv")
    third.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM at iteration" in third.communicate(timeout=60)[1]


def test_a_signal_before_the_first_iteration_is_answered_too(twin_solver, tmp_path):  # noqa: F811
    endless(twin_solver, tmp_path)
    code = "import siamplex.cli, os, signal; from siamplex.commands import train;"
    code += "train.run = lambda args: os.kill(os.getpid(), signal.SIGTERM);"
    code += "raise SystemExit(siamplex.cli.main(['train', '--solver', 'solver.prototxt']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == "siamplex: stopped by SIGTERM; nothing half-written is left\n"


def test_a_disk_that_fills_mid_snapshot_keeps_the_one_before(twin_solver, tmp_path):  # noqa: F811
    """The kernel itself stops the write: files may not grow beyond a limit set between two snapshots."""
    from siamplex.engine.training.solver import Solver, TrainOptions
    from siamplex.errors import StorageError

    path = twin_solver()
    solver = Solver(path, TrainOptions(quiet=True))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    step = solver.step

    def stepping():
        if solver.iteration == 9:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
        return step()

    solver.step = stepping  # type: ignore[method-assign]
    try:
        with pytest.raises(StorageError, match=r"expected to write it, found: File too large"):
            solver.solve()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert snapshots.latest_whole(tmp_path / "snap") == snapshots.SnapshotPaths.of(tmp_path / "snap", 6)
    assert not list(tmp_path.glob(".*.part"))
    Solver(path, TrainOptions(quiet=True, resume=True)).solve()
    assert snapshots.iterations(tmp_path / "snap") == [6, 12]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder]).returncode:
        pytest.skip("a file system of its own can only be mounted by root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_the_command_in_one_line(twin_solver, tmp_path, start, small_disk):  # noqa: F811
    path = twin_solver(prefix="disk/snap")
    (small_disk / "other").write_bytes(b"x" * 380 * 1024)
    wide = tmp_path / "net.prototxt"
    wide.write_text(wide.read_text().replace("num_output: 5", "num_output: 200"))  # 38 kB a file
    process = start(path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    last = said.strip().splitlines()[-1]
    assert last.startswith("siamplex: error: ") and "expected room to write, found a full disk" in last
    whole = snapshots.latest_whole(small_disk / "snap")
    assert whole and whole.manifest.name == "snap_iter_6.json"
    assert not list(small_disk.glob(".*.part"))
    (small_disk / "other").unlink()
    process = start(path, "--resume")
    assert "resumed from" in process.communicate(timeout=60)[1] and process.returncode == 0
