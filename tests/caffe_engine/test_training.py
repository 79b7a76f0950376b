"""The contract with the caffe process: what it is asked, given, and what becomes of its words."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from siamplex.caffe_engine import binary as binaries
from siamplex.caffe_engine.binary import find_binary, find_path, gpus_of
from siamplex.caffe_engine.training import command, newest_snapshot, train
from siamplex.cli import main
from siamplex.engine.training.course import Course
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.snapshot import own
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, Stopped, TrainingError, UsageError
from siamplex.run.record import read_record
from siamplex.schema.weights import read_caffemodel
from tests.engine.conftest import pair_lmdb, twin_solver  # noqa: F401  (fixtures)

LOGS = Path(__file__).parent / "logs"


@pytest.fixture
def solver(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text(f'net: "n" base_lr: 1 max_iter: 6 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/out/snap"'
                    " test_iter: 2 test_interval: 3")  # fmt: skip
    return path


def test_runs_the_binary_and_keeps_its_losses_tests_and_log(tmp_path, stand_in, solver):
    stand_in(f'[ "$1" = device_query ] && exit; echo "$@" > {tmp_path}/arguments; cat {LOGS}/train.log >&2')
    done = train(solver, (Path("a.caffemodel"), Path("b.caffemodel")), None, "cuda:1,2")
    assert (done.first, done.last, done.binary.version) == (0, 6, "1.0.0")
    said = (tmp_path / "arguments").read_text().split()
    assert said == ["train", f"-solver={solver}", "-weights=a.caffemodel,b.caffemodel", "-gpu=1,2"]
    rows = read_losses(tmp_path / "out/snap_losses.csv")
    assert len(rows) == 7 and rows[1] == (1, 0.283743, 0.005) and rows[6][2] is None
    tests = (tmp_path / "out/snap_test.csv").read_text().splitlines()
    assert tests[0] == "iteration,net,output,value" and tests[1] == "0,0,loss,0.264772" and len(tests) == 4
    assert (tmp_path / "out/snap_caffe.log").read_text() == (LOGS / "train.log").read_text()


@pytest.mark.parametrize("name", ["missing_lmdb", "other_weights", "unknown_layer"])
def test_a_failed_check_is_one_line(tmp_path, stand_in, solver, name, capsys):
    stand_in(f"cat {LOGS}/{name}.log >&2; exit 134")
    assert main(["train", "--engine", "caffe", "--solver", str(solver)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"siamplex: error: {solver}: expected caffe to train it, found exit 134: ")
    assert "Check failed" in last or "Cannot copy" in last


def test_a_crash_says_so(stand_in, solver):
    stand_in("echo before the end; kill -SEGV $$")
    with pytest.raises(TrainingError, match="found signal 11: before the end"):
        train(solver)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("echo caffe version 0.17.4; exit\n", r"expected Caffe 1\.0 .*found version 0\.17\.4"),
        ("echo caffe version 1.00; exit\n", r"expected Caffe 1\.0 .*found version 1\.00"),
        ("echo hello; exit\n", "expected a caffe binary .*found hello"),
        ("exit 3\n", "found no answer to --version"),
        ("exec sleep 9\n", "timed out"),
    ],
)
def test_a_wrong_binary_is_refused_by_what_it_says(stand_in, monkeypatch, solver, head, message):
    monkeypatch.setattr(binaries, "_WAIT", 0.5)
    stand_in("", head)
    with pytest.raises(InputError, match=message):
        train(solver)


def test_a_cpu_only_build_asked_for_a_gpu_is_refused(stand_in, solver, capsys):
    stand_in(f"cat {LOGS}/cpu_only.log >&2; exit 134")
    with pytest.raises(UsageError, match=r"expected a build with GPU support, found a CPU-only one .*--device cpu"):
        train(solver, device="cuda")


def test_a_gpu_that_cannot_be_used_keeps_caffes_words(stand_in, solver):
    line = "F0101 00:00:00.0 1 common.cpp:1] Check failed: error == cudaSuccess (35 vs. 0) CUDA driver version is insuf"
    stand_in(f"echo '{line}ficient' >&2; exit 134")
    with pytest.raises(
        UsageError, match=r"expected it to use GPU 0, found: .*driver version is insufficient \(no usable"
    ):
        train(solver, device="cuda")


@pytest.mark.parametrize(
    ("device", "gpus"),
    [("cpu", []), ("cuda", ["0"]), ("cuda:3", ["3"]), ("cuda:0,1", ["0", "1"]), ("cuda:all", ["all"])],
)
def test_devices(device, gpus):
    assert gpus_of(device) == gpus


def test_no_binary_and_bad_options(monkeypatch, tmp_path, solver, stand_in):
    for wrong in ("tpu", "cuda:x", "cuda:0,", "cuda:-1"):
        with pytest.raises(UsageError, match="--device: expected cpu, cuda, cuda:N, cuda:N,M or cuda:all"):
            gpus_of(wrong)
    with pytest.raises(UsageError, match="not both"):
        command(Path("caffe"), Path("s"), (Path("w"),), Path("x"), [])
    stand_in("")
    solver.write_text(solver.read_text() + " solver_mode: GPU")
    with pytest.raises(UsageError, match="expected solver_mode: CPU for --device cpu, found GPU"):
        train(solver)
    monkeypatch.delenv("CAFFE_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="expected the caffe binary"):
        find_path()
    with pytest.raises(InputError, match="expected the caffe binary"):
        find_binary()


@pytest.mark.parametrize("flag", [["--amp"], ["--seed", "3"], ["--no-shortcut"], ["--lean-snapshots"]])
def test_what_only_the_embedded_engine_can_do_is_refused(stand_in, solver, capsys, flag):
    stand_in("")
    assert main(["train", "--engine", "caffe", "--solver", str(solver), *flag]) == 2
    assert f"{flag[0]}: expected --engine torch for it, found --engine caffe" in capsys.readouterr().err


def test_a_run_by_the_process_is_that_of_the_embedded_engine(twin_solver, tmp_path, drop_in):  # noqa: F811
    """The whole contract with a process that really trains: losses, tests, snapshots, going on."""
    path = twin_solver(prefix="ours", more="test_interval: 4 test_iter: 2")
    Solver(path, TrainOptions(quiet=True)).solve()
    path = twin_solver(prefix="theirs", more="test_interval: 4 test_iter: 2 solver_mode: CPU")
    assert main(["train", "--engine", "caffe", "--solver", str(path)]) == 0
    ours, theirs = (read_losses(tmp_path / f"{name}_losses.csv") for name in ("ours", "theirs"))
    assert [r[0] for r in ours] == [r[0] for r in theirs]
    np.testing.assert_allclose([r[1] for r in theirs], [r[1] for r in ours], rtol=1e-5)
    assert len((tmp_path / "theirs_test.csv").read_text().splitlines()) == 5
    a, b = (read_caffemodel(tmp_path / f"{name}_iter_12.caffemodel") for name in ("ours", "theirs"))
    for name in a:
        for x, y in zip(a[name], b[name], strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-6)
    for file in tmp_path.glob("theirs_iter_12.*"):
        file.unlink()
    assert newest_snapshot(str(tmp_path / "theirs")) == tmp_path / "theirs_iter_6.solverstate"
    assert main(["train", "--engine", "caffe", "--solver", str(path), "--resume"]) == 0
    again = read_losses(tmp_path / "theirs_losses.csv")
    assert [r[0] for r in again] == list(range(13))
    np.testing.assert_allclose([r[1] for r in again], [r[1] for r in theirs], rtol=1e-4)


def test_a_half_written_state_of_caffes_is_passed_over(twin_solver, tmp_path):  # noqa: F811
    Solver(twin_solver(), TrainOptions(quiet=True)).solve()
    state = tmp_path / "snap_iter_12.solverstate"
    state.write_bytes(state.read_bytes()[:-40])
    assert newest_snapshot(str(tmp_path / "snap")) == tmp_path / "snap_iter_6.solverstate"
    (tmp_path / "snap_iter_6.caffemodel").unlink()
    assert newest_snapshot(str(tmp_path / "snap")) is None


def test_a_run_in_hdf5_goes_on(twin_solver, tmp_path, drop_in):  # noqa: F811
    path = twin_solver(more="snapshot_format: HDF5 solver_mode: CPU")
    assert main(["train", "--engine", "caffe", "--solver", str(path)]) == 0
    whole = read_losses(tmp_path / "snap_losses.csv")
    assert newest_snapshot(str(tmp_path / "snap")) == tmp_path / "snap_iter_12.solverstate.h5"
    for file in tmp_path.glob("snap_iter_12.*"):
        file.unlink()
    assert newest_snapshot(str(tmp_path / "snap")) == tmp_path / "snap_iter_6.solverstate.h5"
    with pytest.raises(UsageError, match=r"found snap_iter_6: --resume goes on"):
        train(path)
    assert main(["train", "--engine", "caffe", "--solver", str(path), "--resume"]) == 0
    assert (tmp_path / "snap_iter_12.caffemodel.h5").exists()
    again = read_losses(tmp_path / "snap_losses.csv")
    np.testing.assert_allclose([r[1] for r in again], [r[1] for r in whole], rtol=1e-4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_process_and_ends_with_its_snapshot(twin_solver, tmp_path, drop_in, number):  # noqa: F811
    path = twin_solver(more="solver_mode: CPU")
    text = path.read_text().replace("max_iter: 12", "max_iter: 1000000").replace("snapshot: 6", "snapshot: 0")
    path.write_text(text.replace("base_lr: 0.05", "base_lr: 0"))

    def interrupt():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.05)
            losses = tmp_path / "snap_losses.csv"
            if losses.exists() and len(losses.read_text().splitlines()) > 3:
                break
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped, match=rf"caffe stopped by {number.name}; --snapshot .*solverstate goes on") as stopped:
        train(path)
    thread.join()
    assert stopped.value.exit_code == 128 + number
    assert newest_snapshot(str(tmp_path / "snap"))


def test_the_record_says_which_caffe(own_run, drop_in, capsys):
    solver = own_run / "solvers/stage1_indexed.prototxt"
    weights = f"{own_run}/weights/init.caffemodel,{own_run}/pairs/images.caffemodel"
    for file in (own_run / "stage1").iterdir():
        file.unlink()
    assert main(["train", "--engine", "caffe", "--solver", str(solver), "--weights", weights]) == 0
    step = read_record(own_run)[-1]
    assert (step["engine"], step["caffe"], step["device"]) == ("caffe", "1.0.0", "cpu")
    assert step["iterations"] == [0, 6] and step["losses"]["rows"] == 7
    assert main(["audit", str(own_run)]) in (0, 1)


def test_two_engines_do_not_share_a_folder(twin_solver, tmp_path, stand_in):  # noqa: F811
    from siamplex.engine.training.run_lock import run_lock

    stand_in("")
    path = twin_solver(more="solver_mode: CPU")
    with run_lock(str(tmp_path / "snap")), pytest.raises(UsageError, match="expected no other training in this folder"):
        train(path)


def test_compare_engines_tool(twin_solver, tmp_path, drop_in):  # noqa: F811
    """Against the stand-in that really trains; a real binary is used by the real_caffe tests."""
    from tests.conftest import ROOT

    path = twin_solver(dropout=True)
    arguments = [sys.executable, str(ROOT / "tools/compare_engines.py"), "--solver", str(path), "--iterations", "8"]
    done = subprocess.run([*arguments, "--out", str(tmp_path / "c.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "compared without what is random: drop" in done.stderr
    assert "SAME: losses within" in done.stdout and "fc[0]" in done.stdout
    done = subprocess.run([*arguments, "--loss-tolerance", "-1"], capture_output=True, text=True)
    assert done.returncode == 1 and "DIFFERENT: losses within" in done.stdout


def test_what_no_file_fills_is_refused_before_the_binary_runs(own_run, stand_in, tmp_path, capsys):
    stand_in(f"echo ran > {tmp_path}/ran; cat {LOGS}/train.log >&2")
    shutil.rmtree(own_run / "stage1")
    command = ["train", "--engine", "caffe", "--solver", "run/solvers/stage1_indexed.prototxt"]
    assert main([*command, "--weights", "run/weights/init.caffemodel"]) == 2
    said = capsys.readouterr().err
    assert "layer 'images' (Embed) never learns" in said and not (tmp_path / "ran").exists()
    assert main([*command, "--weights", "run/weights/init.caffemodel", "--allow-unfilled"]) == 0
    assert (tmp_path / "ran").exists()
    shutil.rmtree(own_run / "stage1")
    assert main([*command, "--weights", "run/weights/init.caffemodel,run/pairs/images.caffemodel"]) == 0


def test_databases_are_looked_at_before_the_binary_runs(own_run, stand_in, tmp_path, capsys):
    """Caffe's own words name neither the layer nor the path."""
    stand_in(f"echo ran > {tmp_path}/ran")
    command = ["train", "--engine", "caffe", "--solver", "run/solvers/stage1_indexed.prototxt", "--overwrite"]
    net = own_run / "prototxt/train_val_stage1_indexed.prototxt"
    text = net.read_text()
    net.write_text(text.replace("    backend: LMDB\n", ""))
    assert main(command) == 2
    assert "expected a LevelDB, which a backend left out means, found an LMDB; backend: LMDB" in capsys.readouterr().err
    net.write_text(text)
    shutil.rmtree(own_run / "pairs/val_indexed_lmdb")
    assert main(command) == 2
    said = capsys.readouterr().err
    assert re.search(r"prototxt:\d+: layer 'pair_data' \(Data\): source 'run/pairs/val\S+': expected an LMDB", said)
    assert not (tmp_path / "ran").exists()


def test_snapshots_without_manifests_are_the_runs_own(twin_solver, tmp_path, drop_in):  # noqa: F811
    """Real Caffe writes no manifest: its course says so, and those of its iterations belong to the run."""
    path = twin_solver()
    path.write_text(path.read_text().replace("max_iter: 12", "max_iter: 6").replace("snapshot: 6", "snapshot: 2"))
    prefix = str(tmp_path / "snap")
    assert main(["train", "--engine", "caffe", "--solver", str(path)]) == 0
    assert not list(tmp_path.glob("snap_iter_*.json")) and own(prefix) == [2, 4, 6]
    course = Course.read(prefix)
    assert course is not None and not course.segments[-1].manifests
    path.write_text(path.read_text().replace("max_iter: 6", "max_iter: 8"))
    state = f"{prefix}_iter_6.solverstate"
    assert main(["train", "--solver", str(path), "--snapshot", state]) == 0  # the embedded engine goes on
    assert [p.name for p in tmp_path.glob("snap_iter_*.json")] == ["snap_iter_8.json"]
    assert own(prefix) == [2, 4, 6, 8]
    (tmp_path / "snap_iter_8.json").unlink()  # half written
    assert own(prefix) == [2, 4, 6]
