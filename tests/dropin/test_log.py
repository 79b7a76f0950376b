"""The drop-in's log, line by line as Caffe's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.dropin.message_text import message_text
from siamplex.dropin.net_log import log_net
from siamplex.schema import prototxt
from tests.engine.conftest import make_net, pair_lmdb, twin_solver  # noqa: F401  (fixtures)
from tests.engine.golden_runs import near

# Level, day and time, thread, and then the place and text.  The recorded log is by a newer glog, which writes the year.
PREFIX = re.compile(r"([IWEF])\d{4}(?:\d{4})? \d\d:\d\d:\d\d\.\d{6} +\d+ (.*)")
# What no two runs of Caffe have alike, which the comparison leaves out:
# speeds and spans of time ("1.22786e-08 iter/s, 0s/1 iters"), ...
SPEED = re.compile(r"\(\S+ iter/s, \S+s/(\d+) iters\)")
# ... and what threads that read ahead say when they come to it: the engine reads when a batch is asked for.
OF_READING_THREADS = (
    "data_layer.cpp:73] Restarting data prefetching from start.",
    "blocking_queue.cpp:49] Waiting for data",
)
# Numbers are compared as numbers: the last of six digits may differ by rounding.
NUMBER = re.compile(r"(?<![\w.])-?\d+\.?\d*(?:e[+-]\d+)?(?![\w.])")


def said(text: str) -> list[str]:
    """The lines of a log without times, threads and what only threads say."""
    lines = []
    for line in text.splitlines():
        found = PREFIX.fullmatch(line)
        bare = f"{found.group(1)} {found.group(2)}" if found else line
        if not bare.endswith(OF_READING_THREADS):
            lines.append(SPEED.sub(r"(SPEED/\1 iters)", bare))
    return lines


def test_a_golden_runs_log_line_by_line(wild, tmp_path, monkeypatch, capsys):
    case = tmp_path / "case"
    case.mkdir()
    for name in ("train.prototxt", "solver.prototxt", "init.caffemodel"):
        shutil.copyfile(wild / "accuracy_outputs" / name, case / name)
    shutil.copytree(wild / "accuracy_outputs" / "pairs_lmdb", case / "pairs_lmdb")
    monkeypatch.chdir(case)
    assert main(["caffe", "train", "-solver=solver.prototxt", "-weights=init.caffemodel"]) == 0
    ours = said(capsys.readouterr().err)
    theirs = said((wild / "accuracy_outputs" / "log.txt").read_text())
    assert len(theirs) == 882
    rounded = 0
    for number, (mine, golden) in enumerate(zip(ours, theirs, strict=False)):
        assert NUMBER.sub("#", mine) == NUMBER.sub("#", golden), f"line {number} of those compared"
        for a, b in zip(NUMBER.findall(mine), NUMBER.findall(golden), strict=True):
            assert a == b or (near(float(a), float(b)) and "." in a + b), (mine, golden)
        rounded += mine != golden
    assert len(ours) == len(theirs)
    assert rounded < 30  # of some 280 lines with numbers that were computed


# --- what the golden net has not


def log_of(capsys: pytest.CaptureFixture[str], text: str, phase: str = "TRAIN") -> list[str]:
    log_net(make_net(text, phase))
    return [line[2:] for line in said(capsys.readouterr().err) if line.startswith("I ")]


SHARED = """input: "x" input_shape { dim: 2 dim: 3 } force_backward: true
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { lr_mult: 0 }
  inner_product_param { num_output: 4 } }
layer { name: "b" type: "InnerProduct" bottom: "x" top: "b" param { name: "w" }
  inner_product_param { num_output: 4 } }
layer { name: "frozen" type: "InnerProduct" bottom: "x" top: "c" param { lr_mult: 0 } param { lr_mult: 0 }
  inner_product_param { num_output: 4 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "b" loss_weight: 0 }
layer { name: "loss2" type: "EuclideanLoss" bottom: "b" bottom: "c" propagate_down: false propagate_down: true }
"""


def test_shared_parameters_and_gradients(capsys):
    log = log_of(capsys, SHARED)
    (sharing,) = (i for i, line in enumerate(log) if "Sharing parameters" in line)
    assert log[sharing].endswith("] Sharing parameters 'w' owned by layer 'a', param index 0")
    assert "Memory required for data" in log[sharing - 1]
    assert "net.cpp:382] loss2 -> (automatic)" in log and "net.cpp:131] Top shape: (1)" in log
    needs = [line.split("] ")[1].split(" ")[0] for line in log if line.endswith("needs backward computation.")]
    spared = [line.split("] ")[1].split(" ")[0] for line in log if "does not need backward computation." in line]
    # b's gradient is not asked for by the one loss that counts, and c's layer does not learn
    assert needs == ["loss2"]
    assert spared == ["loss", "frozen", "b_b_0_split", "b", "a", "x_input_0_split", "input"]
    lives = log_of(capsys, SHARED.replace("propagate_down: false propagate_down: true", ""))
    needs = [line.split("] ")[1].split(" ")[0] for line in lives if line.endswith("needs backward computation.")]
    assert needs == ["loss2", "b_b_0_split", "b"]


def test_what_feeds_a_net(tmp_path, capsys):
    from tests.engine.layers.test_hdf5_data import listed, write
    from tests.engine.layers.test_image_data import write as draw

    source = listed(tmp_path, write(tmp_path / "a.h5", x=np.zeros((3, 2))))
    text = f"layer {{ name: 'h' type: 'HDF5Data' top: 'x' hdf5_data_param {{ source: '{source}' batch_size: 2 }} }}"
    log = log_of(capsys, text)
    assert f"hdf5_data_layer.cpp:0] Loading list of HDF5 filenames from: {source}" in log
    assert "hdf5_data_layer.cpp:0] Number of HDF5 files: 1" in log
    draw(tmp_path / "a.png")
    source = listed(tmp_path, f"{tmp_path / 'a.png'} 1")
    log = log_of(
        capsys, f"layer {{ name: 'i' type: 'ImageData' top: 'x' top: 'y' image_data_param {{ source: '{source}' }} }}"
    )
    at = log.index(f"image_data_layer.cpp:0] Opening file {source}")
    assert log[at + 1 : at + 3] == [
        "image_data_layer.cpp:0] A total of 1 images.", "image_data_layer.cpp:0] output data size: 1,3,6,5",
    ]  # fmt: skip
    listed(tmp_path, f"{tmp_path / 'a.png'} 1.5")
    log = log_of(
        capsys, f"layer {{ name: 'i' type: 'ImageData' top: 'x' top: 'y' image_data_param {{ source: '{source}' }} }}"
    )
    assert any(f"{source}:1: label '1.5' is read as 1, as in Caffe" in line for line in log)


RULES = """layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 1 } } }
layer { name: "a" type: "AbsVal" bottom: "x" top: "a" include { min_level: 2 } include { stage: "s" not_stage: "n" } }
layer { name: "b" type: "AbsVal" bottom: "x" top: "b" exclude { stage: "s" } exclude { max_level: 0 } }
layer { name: "c" type: "AbsVal" bottom: "x" top: "c" include { phase: TEST } include { phase: TRAIN } }
state { level: 1 stage: "s" stage: "n" }
"""


def test_rules_that_are_not_met(capsys):
    """Every rule that is looked at is said, up to the first that is met."""
    log = [line.split("] ")[1] for line in log_of(capsys, RULES) if "NetState" in line]
    assert log == [
        "The NetState level (1) is above the min_level (2) specified by a rule in layer a",
        "The NetState contained a not_stage 'n' specified by a rule in layer a",
        "The NetState phase (0) differed from the phase (1) specified by a rule in layer c",
    ]


def test_messages_are_printed_as_cplusplus_does():
    text = """base_lr: 0.1 gamma: 1e-5 power: 3 momentum: 0.123456789 weight_decay: 1e10 snapshot_prefix: "1.0"
max_iter: 7 test_interval: 2000000 delta: 2000000 solver_mode: CPU test_compute_loss: true"""
    printed = message_text(prototxt.parse(text, "SolverParameter").message).splitlines()
    assert printed == [
        "test_interval: 2000000", "base_lr: 0.1", "max_iter: 7", "gamma: 1e-05", "power: 3", "momentum: 0.12345679",
        "weight_decay: 1e+10", 'snapshot_prefix: "1.0"', "solver_mode: CPU", "test_compute_loss: true", "delta: 2e+06",
    ]  # fmt: skip


def test_layers_that_weights_have_and_the_net_has_not(twin_solver, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    path = twin_solver(net_more="layer { name: 'more' type: 'Softmax' bottom: 'out' top: 'more' }", prefix="first")
    assert main(["caffe", "train", f"-solver={path}"]) == 0
    capsys.readouterr()
    path = twin_solver(prefix="second", more="test_iter: 1 test_interval: 12")
    text = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(text.replace('name: "fc"', 'name: "other"', 1))
    assert main(["caffe", "train", f"-solver={path}", "-weights=first_iter_12.caffemodel"]) == 0
    log = said(capsys.readouterr().err)
    at = [i for i, line in enumerate(log) if line == "I solver.cpp:72] Finetuning from first_iter_12.caffemodel"]
    assert len(at) == 2  # the train net, the test net
    for i in at:
        assert log[i + 1] == "I net.cpp:0] Ignoring source layer fc"
    assert main(["caffe", "test", "-model=net.prototxt", "-weights=second_iter_12.caffemodel", "-iterations=1"]) == 0
    log = said(capsys.readouterr().err)
    built, running = "I net.cpp:257] Network initialization done.", "I caffe.cpp:0] Running for 1 iterations."
    assert log.index(built) < log.index(running)
    assert "  phase: TEST" in log and '  stage: ""' in log


def test_steps_and_clipping_are_said_where_caffe_says_them(twin_solver, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Between an iteration's loss and rate, and behind its rate; with what else is said at other iterations."""
    monkeypatch.chdir(tmp_path)
    path = twin_solver()
    path.write_text(
        re.sub(r'display: \d+|lr_policy: "\w+"|stepsize: \d+', "", path.read_text())
        + 'display: 2 lr_policy: "multistep" stepvalue: 3 stepvalue: 4 clip_gradients: 1e-6'
    )
    assert main(["caffe", "train", "-solver=solver.prototxt"]) == 0
    log = [line.partition("] ")[2] for line in said(capsys.readouterr().err)]
    steps = [line for line in log if line.startswith("MultiStep")]
    assert steps == ["MultiStep Status: Iteration 3, step = 1", "MultiStep Status: Iteration 4, step = 2"]
    at = log.index(steps[1])
    assert log[at - 1].startswith("    Train net output #0") and log[at + 1].startswith("Iteration 4, lr = ")
    clip = re.compile(r"Gradient clipping: scaling down gradients \(L2 norm (\S+) > 1e-06\) by scale factor (\S+)")
    found = [clip.fullmatch(line) for line in log if line.startswith("Gradient")]
    assert len(found) == 12 and clip.fullmatch(log[at + 2])
    assert all(one and near(1e-6 / float(one.group(1)), float(one.group(2))) for one in found)


def test_the_prefix_of_snapshots_is_said_as_written(twin_solver, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    path = twin_solver()
    path.write_text(re.sub(r'snapshot_prefix: "[^"]*"', 'snapshot_prefix: "./s"', path.read_text()))
    assert main(["caffe", "train", "-solver=solver.prototxt"]) == 0
    assert "Snapshotting to binary proto file ./s_iter_12.caffemodel" in capsys.readouterr().err


def test_the_solver_is_said_as_cplusplus_prints_it(twin_solver, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    twin_solver(more="momentum2: 1 delta: 2")
    assert main(["caffe", "train", "-solver=solver.prototxt"]) == 0
    log = capsys.readouterr().err.splitlines()
    assert "momentum2: 1" in log and "delta: 2" in log
