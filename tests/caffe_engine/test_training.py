"""The contract with the caffe binary, kept with a stand-in executable."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from siamplex.caffe_engine import command, find_binary, read_log, train
from siamplex.engine.loss_log import read_losses
from siamplex.errors import InputError, TrainingError, UsageError

LOG = """I0101 00:00:00.0 1 solver.cpp:239] Iteration 0 (0 iter/s, 1s/1 iters), loss = 0.5
I0101 00:00:00.0 1 solver.cpp:258]     Train net output #0: loss = 0.5 (* 1 = 0.5 loss)
I0101 00:00:00.0 1 sgd_solver.cpp:112] Iteration 0, lr = 0.01
I0101 00:00:00.0 1 solver.cpp:239] Iteration 1 (9 iter/s, 0.1s/1 iters), loss = 0.25
I0101 00:00:00.0 1 sgd_solver.cpp:112] Iteration 1, lr = 0.005
I0101 00:00:00.0 1 solver.cpp:327] Iteration 2, loss = 0.125
I0101 00:00:00.0 1 solver.cpp:332] Optimization Done.
"""


def stand_in(folder: Path, monkeypatch, body: str) -> None:
    binary = folder / "caffe"
    binary.write_text(f"#!/bin/sh\n{body}\n")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CAFFE_BIN", str(binary))


@pytest.fixture
def solver(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text(f'net: "n" base_lr: 1 max_iter: 2 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/out/snap"')
    return path


def test_reads_caffes_log():
    assert list(read_log(LOG.splitlines())) == [(0, 0.5, 0.01), (1, 0.25, 0.005), (2, 0.125, None)]


def test_runs_the_binary_and_keeps_its_losses(tmp_path, monkeypatch, solver):
    (tmp_path / "log").write_text(LOG)
    stand_in(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/arguments; cat {tmp_path}/log >&2')
    train(solver, (Path("a.caffemodel"), Path("b.caffemodel")), None, "cuda:1")
    said = (tmp_path / "arguments").read_text().split()
    assert said == ["train", f"-solver={solver}", "-weights=a.caffemodel,b.caffemodel", "-gpu=1"]
    assert read_losses(tmp_path / "out/snap_losses.csv")[1] == (1, 0.25, 0.005)
    assert (tmp_path / "out/snap_caffe.log").read_text() == LOG


def test_a_failed_check_is_one_line(tmp_path, monkeypatch, solver):
    stand_in(
        tmp_path, monkeypatch, "echo 'F0101 00:00:00.0 1 net.cpp:7] Check failed: a == b (1 vs. 2) ' >&2; exit 134"
    )
    with pytest.raises(TrainingError, match=r"found exit 134: Check failed: a == b \(1 vs. 2\)"):
        train(solver, (), None, "cpu")


def test_no_binary_and_bad_options(monkeypatch, tmp_path):
    monkeypatch.delenv("CAFFE_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="expected the caffe binary"):
        find_binary()
    with pytest.raises(UsageError, match="not both"):
        command(Path("caffe"), Path("s"), (Path("w"),), Path("x"), "cpu")
    with pytest.raises(UsageError, match="--device"):
        command(Path("caffe"), Path("s"), (), None, "tpu")
