"""Trainings by several processes, of which one dies on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from siamplex.cli import main
from siamplex.multiverse import store
from tests.multiverse.small_run import make_run
from tests.multiverse.test_multiverse import everything


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    make_run(folder, faces)
    return folder


@pytest.fixture(scope="module")
def alone(run: Path) -> dict[str, bytes]:
    """What one process comes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run)
        assert main("multiverse run --grid grid.toml --workers 1".split()) == 0
    return everything(run)


def children(process: int) -> list[int]:
    return [int(word) for task in Path(f"/proc/{process}/task").glob("*/children") for word in task.read_text().split()]


def begin_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for cell in store.read(folder / "run"):
        for path in cell.folder.iterdir():
            path.unlink()
        cell.folder.rmdir()


def once_some_are_done(folder: Path, call) -> threading.Thread:
    """Call it in another thread when the first cells are there."""

    def wait() -> None:
        until = time.monotonic() + 120
        while len(store.names(folder / "run")) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        call()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed(run, alone, monkeypatch, capsys):
    begin_anew(run, monkeypatch)
    killed = []

    def kill() -> None:
        workers = [pid for pid in children(os.getpid()) if "loky" in Path(f"/proc/{pid}/cmdline").read_text()]
        mine = [pid for pid in workers if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()]
        killed.append(mine[-1])
        os.kill(mine[-1], signal.SIGKILL)

    thread = once_some_are_done(run, kill)
    assert main("multiverse run --grid grid.toml --workers 2".split()) == 0
    thread.join()
    assert killed and "a worker process died" in capsys.readouterr().err
    assert everything(run) == alone
    assert not (run / "run" / "multiverse" / "scratch").exists()  # nor what the killed one left


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_two_workers_of_which_one_is_killed(run, alone, monkeypatch, capsys):
    distributed = pytest.importorskip("distributed", reason="no distributed (pip install 'siamplex[cluster]')")
    begin_anew(run, monkeypatch)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        killed = []

        def kill() -> None:
            process = next(iter(cluster.workers.values())).process.process
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

        thread = once_some_are_done(run, kill)
        code = main(["multiverse", "run", "--grid", "grid.toml", "--scheduler", cluster.scheduler_address])
        thread.join()
    assert code == 0 and killed
    assert everything(run) == alone
