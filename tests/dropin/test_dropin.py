"""`siamplex caffe` in the place of BVLC's tool."""

from __future__ import annotations

import csv
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest

from siamplex.caffe_engine.log import Display, Saved, Scored, read_log
from siamplex.cli import main
from siamplex.schema.datum import encode
from siamplex.schema.weights import read_caffemodel
from tests.engine.conftest import pair_lmdb, twin_solver  # noqa: F401  (fixtures)

CASES = ("stacked_full", "indexed_frozen", "legacy_loss_itersize")


@pytest.mark.parametrize("case", CASES)
def test_a_golden_run_by_its_old_command(goldens, tmp_path, monkeypatch, capsys, case):
    """The command a golden run was made with; the log read as Caffe's gives its losses."""
    shutil.copytree(goldens / case, tmp_path / case)
    monkeypatch.chdir(tmp_path / case)
    for name in ("expected.caffemodel", "expected.solverstate"):
        (tmp_path / case / name).chmod(0o644)
    assert main(["caffe", "train", "-solver=solver.prototxt", "-weights=init.caffemodel"]) == 0
    log = capsys.readouterr().err.splitlines()
    events = list(read_log(log))
    shown = [e for e in events if isinstance(e, Display)]
    with Path("losses.csv").open(newline="") as handle:
        expected = list(csv.DictReader(handle))
    assert [e.iteration for e in shown] == [int(row["iteration"]) for row in expected]
    np.testing.assert_allclose([e.loss for e in shown], [float(r["loss"]) for r in expected], atol=2e-5)
    assert [e.rate for e in shown[:-1]] == pytest.approx([float(r["lr"]) for r in expected[:-1]], rel=1e-5)
    assert [e.path for e in events if isinstance(e, Saved)][-1] == f"snap_iter_{shown[-1].iteration}.solverstate"
    in_message = False  # settings are printed over several lines
    for line in log:
        if re.match(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.:]+:\d+\] ", line):
            in_message = line.endswith("from parameters: ")
        else:
            assert in_message and re.match(r' *(\w+: ("[^"]*"|[\w.+-]+)|\w+ \{|\})$', line), line
    ours, theirs = (read_caffemodel(n) for n in (f"snap_iter_{shown[-1].iteration}.caffemodel", "expected.caffemodel"))
    for name in ours:
        for a, b in zip(ours[name], theirs[name], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-7)


def test_solver_without_prefix_is_named_after_itself(twin_solver, tmp_path, monkeypatch):  # noqa: F811
    path = twin_solver()
    monkeypatch.chdir(tmp_path)
    path.write_text(re.sub(r'snapshot_prefix: "[^"]*"', "", path.read_text()))
    assert main(["caffe", "train", "-solver", "solver.prototxt"]) == 0
    assert (tmp_path / "solver_iter_12.caffemodel").exists()
    folder = tmp_path / "kept"
    folder.mkdir()
    path.write_text(path.read_text() + f'snapshot_prefix: "{folder}"')
    assert main(["caffe", "train", "-solver", "solver.prototxt"]) == 0
    assert (folder / "solver_iter_12.caffemodel").exists()


def test_snapshot_goes_on(twin_solver, tmp_path, monkeypatch, capsys):  # noqa: F811
    path = twin_solver()
    monkeypatch.chdir(tmp_path)
    assert main(["caffe", "train", f"-solver={path}"]) == 0
    whole = read_caffemodel("snap_iter_12.caffemodel")
    capsys.readouterr()
    assert main(["caffe", "train", f"-solver={path}", "-snapshot=snap_iter_6.solverstate"]) == 0
    assert "Resuming from snap_iter_6.solverstate" in capsys.readouterr().err
    again = read_caffemodel("snap_iter_12.caffemodel")
    assert all(np.array_equal(a, b) for k in whole for a, b in zip(whole[k], again[k], strict=True))


@pytest.mark.parametrize(
    ("number", "flags", "code", "said"),
    [
        (signal.SIGINT, [], 0, "Optimization stopped early."),
        (signal.SIGHUP, [], None, "Snapshotting to binary proto file"),
        (signal.SIGINT, ["-sigint_effect=snapshot"], None, "Snapshotting to binary proto file"),
    ],
)
def test_signals_have_caffes_effects(twin_solver, tmp_path, number, flags, code, said):  # noqa: F811
    path = twin_solver()
    text = path.read_text().replace("max_iter: 12", "max_iter: 1000000").replace("snapshot: 6", "snapshot: 0")
    path.write_text(text.replace("base_lr: 0.05", "base_lr: 0").replace("display: 1", "display: 1000"))
    log = (tmp_path / "log").open("w+")
    command = [sys.executable, "-m", "siamplex", "caffe", "train", f"-solver={path}", *flags]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        wait_until(lambda: "Iteration 0" in (tmp_path / "log").read_text())
        process.send_signal(number)
        wait_until(lambda: said in (tmp_path / "log").read_text())
        if code is not None:
            assert process.wait(timeout=60) == code
            assert list(tmp_path.glob("snap_iter_*.caffemodel"))
        else:
            assert process.poll() is None  # it goes on
            wait_until(lambda: list(tmp_path.glob("snap_iter_*.json")))
    finally:
        process.kill()
        process.wait()
        log.close()


def wait_until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- BVLC's LeNet twins (its examples/siamese), by a net of our own of the same make

_TWIN = """
layer {{ name: "conv1{0}" type: "Convolution" bottom: "data{0}" top: "conv1{0}"
  param {{ name: "conv1_w" lr_mult: 1 }} param {{ name: "conv1_b" lr_mult: 2 }}
  convolution_param {{ num_output: 20 kernel_size: 5 stride: 1 weight_filler {{ type: "xavier" }}
    bias_filler {{ type: "constant" }} }} }}
layer {{ name: "pool1{0}" type: "Pooling" bottom: "conv1{0}" top: "pool1{0}"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "conv2{0}" type: "Convolution" bottom: "pool1{0}" top: "conv2{0}"
  param {{ name: "conv2_w" lr_mult: 1 }} param {{ name: "conv2_b" lr_mult: 2 }}
  convolution_param {{ num_output: 50 kernel_size: 5 stride: 1 weight_filler {{ type: "xavier" }}
    bias_filler {{ type: "constant" }} }} }}
layer {{ name: "pool2{0}" type: "Pooling" bottom: "conv2{0}" top: "pool2{0}"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "ip1{0}" type: "InnerProduct" bottom: "pool2{0}" top: "ip1{0}"
  param {{ name: "ip1_w" lr_mult: 1 }} param {{ name: "ip1_b" lr_mult: 2 }}
  inner_product_param {{ num_output: 500 weight_filler {{ type: "xavier" }} bias_filler {{ type: "constant" }} }} }}
layer {{ name: "relu1{0}" type: "ReLU" bottom: "ip1{0}" top: "ip1{0}" }}
layer {{ name: "ip2{0}" type: "InnerProduct" bottom: "ip1{0}" top: "ip2{0}"
  param {{ name: "ip2_w" lr_mult: 1 }} param {{ name: "ip2_b" lr_mult: 2 }}
  inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} bias_filler {{ type: "constant" }} }} }}
layer {{ name: "feat{0}" type: "InnerProduct" bottom: "ip2{0}" top: "feat{0}"
  param {{ name: "feat_w" lr_mult: 1 }} param {{ name: "feat_b" lr_mult: 2 }}
  inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} bias_filler {{ type: "constant" }} }} }}
"""
_DATA = """layer {{ name: "pair_data" type: "Data" top: "pair_data" top: "sim" include {{ phase: {phase} }}
  transform_param {{ scale: 0.00390625 }} data_param {{ source: "{source}" batch_size: {batch} {backend} }} }}
"""


def lenet_twins(folder, backend, legacy):
    line = "" if backend == "leveldb" else "backend: LMDB"  # LevelDB is the default of the format
    data = "".join(
        _DATA.format(phase=phase, source=f"digits_{split}_{backend}", batch=batch, backend=line)
        for phase, split, batch in (("TRAIN", "train", 64), ("TEST", "test", 100))
    )
    cut = 'layer { name: "slice_pair" type: "Slice" bottom: "pair_data" top: "data" top: "data_p"\n'
    cut += "  slice_param { slice_dim: 1 slice_point: 1 } }\n"
    loss = 'layer { name: "loss" type: "ContrastiveLoss" bottom: "feat" bottom: "feat_p" bottom: "sim" top: "loss"\n'
    loss += f"  contrastive_loss_param {{ margin: 1 {'legacy_version: true' if legacy else ''} }} }}\n"
    (folder / "net.prototxt").write_text('name: "digits"\n' + data + cut + _TWIN.format("") + _TWIN.format("_p") + loss)
    (folder / "solver.prototxt").write_text(
        'net: "net.prototxt" test_iter: 4 test_interval: 50 base_lr: 0.01 momentum: 0.9 weight_decay: 0.0000\n'
        'lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 50 max_iter: 150 snapshot: 150 snapshot_prefix: "lenet"\n'
        "solver_mode: GPU random_seed: 5\n"
    )


def digit_pairs(count, first, last, seed):
    """Pairs of real handwritten digits (scikit-learn's 8x8 ones, drawn large): (2, 28, 28) bytes, 1 where alike."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    large = np.kron(images.reshape(-1, 8, 8), np.ones((3, 3))) * 15.9
    large = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    stream = np.random.default_rng(seed)
    for _ in range(count):
        a, b = stream.integers(first, last, 2)
        yield np.stack([large[a], large[b]]), int(labels[a] == labels[b])


def write_digits(folder, backend):
    for split, count, first, last in (("train", 4000, 0, 1400), ("test", 400, 1400, 1797)):
        target = folder / f"digits_{split}_{backend}"
        records = ((b"%08d" % i, encode(*pair)) for i, pair in enumerate(digit_pairs(count, first, last, len(split))))
        if backend == "leveldb":
            plyvel = pytest.importorskip("plyvel")
            db = plyvel.DB(str(target), create_if_missing=True)
            for key, value in records:
                db.put(key, value)
            db.close()
        else:
            with lmdb.open(str(target), map_size=1 << 26) as env, env.begin(write=True) as txn:
                for key, value in records:
                    txn.put(key, value)


@pytest.mark.parametrize(("backend", "legacy"), [("leveldb", False), ("lmdb", True)])
def test_bvlcs_siamese_lenet_learns(tmp_path, monkeypatch, capsys, backend, legacy):
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path, backend)
    lenet_twins(tmp_path, backend, legacy)
    assert main(["caffe", "train", "--solver=solver.prototxt"]) == 0
    said = capsys.readouterr().err
    assert "asks for a GPU and there is none" in said
    tests = [e for e in read_log(said.splitlines()) if isinstance(e, Scored)]
    assert [e.iteration for e in tests] == [0, 50, 100, 150]
    assert tests[-1].value < 0.5 * tests[0].value and tests[-1].value < 0.08
    assert main(["caffe", "test", "-model=net.prototxt", "-weights=lenet_iter_150.caffemodel", "-iterations=4"]) == 0
    scored = capsys.readouterr().err
    assert scored.count("Batch ") == 4
    mean = float(re.search(r"\] loss = (\S+) \(\* 1 = \S+ loss\)", scored).group(1))
    assert mean == pytest.approx(tests[-1].value, rel=1e-4)
    assert float(re.search(r"\] Loss: (\S+)", scored).group(1)) == pytest.approx(mean)
    assert main(["caffe", "time", "-model=net.prototxt", "-iterations=2"]) == 0
    timed = capsys.readouterr().err
    layers = dict(re.findall(r"\]\s+(\w+)\tbackward: (\S+) ms", timed))
    assert {"conv1", "conv2_p", "ip1", "loss"} <= set(layers) and float(layers["conv2"]) > float(layers["relu1"])
    assert re.search(r"Average Forward-Backward: [\d.]+ ms", timed)


def test_labels_are_timed_without_a_gradient(tmp_path, capsys):
    """As in Caffe only what lies behind a layer that learns has one; a SoftmaxWithLoss has none for its labels."""
    net = """layer { name: "d" type: "DummyData" top: "x" top: "l" dummy_data_param { shape { dim: [2, 4] }
      shape { dim: 2 } } }
    layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 3 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "l" }"""
    (tmp_path / "net.prototxt").write_text(net)
    assert main(["caffe", "time", f"-model={tmp_path}/net.prototxt", "-iterations=1"]) == 0
    assert re.search(r"\] +loss\tbackward: (?!0 ms)[\d.e-]+ ms", capsys.readouterr().err)


def test_leveldb_is_read_in_key_order_and_damage_is_one_line(tmp_path):
    plyvel = pytest.importorskip("plyvel")
    from siamplex.engine.net.data_source import DataSource
    from siamplex.errors import InputError

    with plyvel.DB(str(tmp_path / "l"), create_if_missing=True) as db:
        for i in (2, 0, 1):
            db.put(b"%08d" % i, encode(np.full((1, 2, 2), i, np.uint8), i))
    source = DataSource(tmp_path / "l", "LEVELDB")
    assert source.entries == 3
    values, labels = source.batch(5)
    assert labels.tolist() == [0, 1, 2, 0, 1] and values[2].max() == 2
    del source
    gc.collect()
    for file in (tmp_path / "l").iterdir():
        if file.suffix in (".log", ".ldb"):
            data = bytearray(file.read_bytes())
            data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
            file.write_bytes(data)
    with pytest.raises(InputError, match=r"LevelDB|records"):
        DataSource(tmp_path / "l", "LEVELDB")
    with pytest.raises(InputError, match="expected a LevelDB folder, found nothing there"):
        DataSource(tmp_path / "m", "LEVELDB")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "expected a solver definition to train (-solver), found none"),
        (["test", "-model=x"], "expected model weights to score (-weights), found none"),
        (["time"], "expected a model definition to time (-model), found none"),
        (["time", "-model=x", "-phase=DEV"], "-phase: expected TRAIN or TEST, found 'DEV'"),
        (["train", "-solver=s", "-weights=w", "-snapshot=x"], "not both"),
        (["train", "-solver=missing.prototxt"], "expected a readable prototxt"),
        (["device_query"], "expected a CUDA device"),
    ],
)
def test_refusals_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["caffe", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("I")]
    assert len(lines) == 1 and message in lines[0]


def test_several_gpus_point_to_torchrun(twin_solver, capsys):  # noqa: F811
    assert main(["caffe", "train", f"-solver={twin_solver()}", "-gpu=0,1"]) == 2
    assert "torchrun" in capsys.readouterr().err


def test_levels_and_stages_choose_layers(twin_solver, tmp_path, monkeypatch, capsys):  # noqa: F811
    extra = 'layer { name: "extra" type: "Flatten" bottom: "a" top: "extra" include { stage: "more" } }'
    path = twin_solver(net_more=extra)
    monkeypatch.chdir(tmp_path)
    for flags, there in (([], False), (["-stage=more"], True)):
        assert main(["caffe", "train", f"-solver={path}", *flags]) == 0
        assert ("extra = " in capsys.readouterr().err) == there


def test_the_flag_replaces_the_solvers_level(twin_solver, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Caffe sets the level of train_state from its flag, 0 unless it is given."""
    extra = 'layer { name: "extra" type: "Flatten" bottom: "a" top: "extra" include { min_level: 2 } }'
    path = twin_solver(net_more=extra, more="train_state { level: 2 }")
    monkeypatch.chdir(tmp_path)
    for flags, there in (([], False), (["-level=2"], True)):
        assert main(["caffe", "train", f"-solver={path}", *flags]) == 0
        assert ("extra = " in capsys.readouterr().err) == there
