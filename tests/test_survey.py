"""tools/survey_prototxts.py over a folder with files of many kinds, hostile ones among them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
TOOL = Path(__file__).parents[1] / "tools" / "survey_prototxts.py"

DATA = """layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 32 mean_value: 104 mean_value: 117 mean_value: 123 mirror: true }
  data_param { source: "ilsvrc12_train_lmdb" batch_size: 256 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 32 mean_file: "mean.binaryproto" }
  data_param { source: "ilsvrc12_val_lmdb" batch_size: 50 backend: LMDB } }
"""
FC = 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 10 } }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }\n'
INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 20\n'


def inception(bottom: str, name: str) -> str:
    """Four ways through a module, joined."""
    parts, ends = [], []
    for way, (size, pad) in {"1x1": (1, 0), "3x3": (3, 1), "5x5": (5, 2)}.items():
        top = f"{name}/{way}"
        ends.append(top)
        parts.append(
            f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" param {{ lr_mult: 1 '
            f"decay_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }} convolution_param {{ num_output: 4 "
            f'kernel_size: {size} pad: {pad} weight_filler {{ type: "xavier" }} }} }}\n'
            f'layer {{ name: "{name}/relu_{way}" type: "ReLU" bottom: "{top}" top: "{top}" }}\n'
        )
    pooled = f"{name}/pool"
    parts.append(
        f'layer {{ name: "{pooled}" type: "Pooling" bottom: "{bottom}" top: "{pooled}" '
        "pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 } }\n"
    )
    bottoms = " ".join(f'bottom: "{end}"' for end in (*ends, pooled))
    return "".join(parts) + f'layer {{ name: "{name}" type: "Concat" {bottoms} top: "{name}" }}\n'


def residual(bottom: str, name: str) -> str:
    """A convolution with statistics, added to what it read."""
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f"num_output: 3 kernel_size: 3 pad: 1 bias_term: false }} }}\n"
        f'layer {{ name: "bn_{name}" type: "BatchNorm" bottom: "{name}" top: "{name}" '
        "param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }\n"
        f'layer {{ name: "scale_{name}" type: "Scale" bottom: "{name}" top: "{name}" '
        f"scale_param {{ bias_term: true }} }}\n"
        f'layer {{ name: "sum_{name}" type: "Eltwise" bottom: "{bottom}" bottom: "{name}" top: "sum_{name}" }}\n'
    )


GOOD: dict[str, str] = {
    "train_val": DATA + FC + LOSS + LOSS.replace("SoftmaxWithLoss", "Accuracy").replace('"loss"', '"acc"'),
    "inception": DATA
    + inception("data", "inception_3a")
    + FC.replace('"data"', '"inception_3a"')
    + LOSS.replace('top: "loss"', 'top: "aux" loss_weight: 0.3'),
    "resnet": INPUT + residual("data", "res2a") + residual("sum_res2a", "res2b"),
    "maxout": INPUT
    + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
    + "convolution_param { num_output: 8 kernel_size: 5 } }"
    + 'layer { name: "s" type: "Slice" bottom: "c" top: "a" top: "b" slice_param { slice_dim: 1 } }'
    + 'layer { name: "m" type: "Eltwise" bottom: "a" bottom: "b" top: "m" eltwise_param { operation: MAX } }'
    + 'layer { name: "p" type: "PReLU" bottom: "m" top: "m" }',
    "segmentation": 'layer { name: "data" type: "Data" top: "data" data_param { source: "img" batch_size: 1 } }\n'
    'layer { name: "label" type: "Data" top: "label" data_param { source: "seg" batch_size: 1 } }\n'
    'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 5 kernel_size: 3 '
    'pad: 9 stride: 2 } }\nlayer { name: "u" type: "Deconvolution" bottom: "c" top: "u" param { lr_mult: 0 } '
    "convolution_param { num_output: 5 bias_term: false kernel_size: 4 stride: 2 } }\n"
    'layer { name: "fc" type: "Crop" bottom: "u" bottom: "data" top: "fc" crop_param { axis: 2 offset: 5 } }\n'
    + LOSS.replace("}", "loss_param { ignore_label: 255 normalize: false } }"),
    "siamese": 'layer { name: "pair" type: "Data" top: "pair" top: "sim" transform_param { scale: 0.0039 } '
    'data_param { source: "pairs_leveldb" batch_size: 64 } }\n'
    'layer { name: "s" type: "Slice" bottom: "pair" top: "l" top: "r" slice_param { slice_dim: 1 slice_point: 1 } }\n'
    + "".join(
        f'layer {{ name: "f{x}" type: "InnerProduct" bottom: "{x}" top: "f{x}" param {{ name: "w" }} '
        f'param {{ name: "b" }} inner_product_param {{ num_output: 2 }} }}\n'
        for x in "lr"
    )
    + 'layer { name: "loss" type: "ContrastiveLoss" bottom: "fl" bottom: "fr" bottom: "sim" top: "loss" }',
    "oldest": 'layers { layer { name: "d" type: "data" source: "x_leveldb" meanfile: "m" batchsize: 9 cropsize: 20 } '
    'top: "data" top: "label" }\n'
    'layers { layer { name: "fc" type: "innerproduct" num_output: 3 } bottom: "data" top: "fc" }\n'
    'layers { layer { name: "l" type: "softmax_loss" } bottom: "fc" bottom: "label" }\n',
    "old": 'layers { name: "fc" type: INNER_PRODUCT bottom: "data" top: "fc" blobs_lr: 1 blobs_lr: 2 '
    "inner_product_param { num_output: 3 } }\n" + INPUT,
    "memory": 'layer { name: "m" type: "MemoryData" top: "data" top: "label" memory_data_param { batch_size: 2 '
    "channels: 1 height: 5 width: 5 } }\n" + FC + LOSS,
    "dummy": 'layer { name: "m" type: "DummyData" top: "data" top: "label" dummy_data_param { shape { dim: 2 dim: 3 } '
    "shape { dim: 2 } } }\n" + FC + LOSS,
    "train_alone": DATA.replace("phase: TEST", "phase: TRAIN stage: 'no'") + FC + LOSS,
    "stages": 'layer { name: "i" type: "Input" top: "data" include { stage: "deploy" } '
    + "input_param { shape { dim: 1 dim: 9 } } }"
    + FC,
    "unnamed": 'layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 4 } }\n'
    + FC
    + LOSS,
    "syntax": '\ufeffinput: \'data\', input_shape: < dim: [1, 0x3] >;\r\nlayer{name:"f"type:"InnerProduct"bottom:"data"'
    'top:"f",inner_product_param:<num_output:010 weight_filler{type:"gauss" "ian" std:1e-2f mean: - .5}>}\r\n# ende',
}
FORK: dict[str, str] = {
    "triplet": INPUT
    + 'layer { name: "t" type: "TripletLoss" bottom: "data" top: "t" triplet_loss_param { margin: 1 } }',
    "two": INPUT + 'layer { name: "p" type: "Permute" bottom: "data" top: "p" permute_param { order: 0 } }\n'
    'layer { name: "t" type: "TripletLoss" bottom: "p" top: "t" }',
    "hole": INPUT + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { hole: 2 } }',
    "old_type": 'layers { name: "t" type: TRIPLET_LOSS bottom: "a" }',
    "enum": INPUT + 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { pool: SUM } }',
}
PYTHON = {
    "python": 'layer { name: "d" type: "Python" top: "data" top: "label" python_param { module: "m" layer: "L" } }\n'
    + FC
    + LOSS
}
CAFFE: dict[str, str] = {
    "braces": 'layer { name: "x" type: "ReLU" bottom: "a" }}',
    "no_bottom": INPUT + FC.replace('bottom: "data"', 'bottom: "dta"'),
    "rules": INPUT
    + FC.replace("inner_product_param", "include { phase: TEST } exclude { phase: TRAIN } inner_product_param"),
    "misspelt": INPUT + FC.replace("InnerProduct", "Innerproduct"),
    "twice": INPUT + FC + FC.replace('name: "fc"', 'name: "fc2"'),
    "lost_hash": INPUT + FC.replace('bottom: "data"', 'bottom: "data" N x 10 x 20'),
    "letters": INPUT + FC.replace("bottom", "botoom"),
    "label_maps": DATA + LOSS.replace('"fc"', '"data"'),
}
SYNTAX = {"unquoted": "layer { name:z type: 'ReLU' odd_param { } }"}  # and a fork's field, behind the fault
SHAPES = {
    "decoder": 'layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "n" batch_size: 2 } }'
    'layer { name: "c" type: "Convolution" bottom: "x" top: "data" convolution_param { num_output: 3 kernel_size: 3 } }'
    + FC
    + 'layer { name: "e" type: "Eltwise" bottom: "fc" bottom: "x" top: "e" }',
}
OURS = {
    "output": 'input: "x" input_shape { dim: 3 dim: 2 dim: 4 } input: "y" input_shape { dim: 3 dim: 2 }\n'
    'layer { name: "o" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param { file_name: "out.h5" } }',
}
SOLVERS = {
    "solver": 'net: "not/there.prototxt"\nbase_lr: 0.01\nlr_policy: "step"\ngamma: 0.1\nstepsize: 9\nmax_iter: 10\n',
    "solver_old": 'train_net: "a" base_lr: 1\nsolver_type: ADAM momentum: .9\nlr_policy: "fixed" max_iter: 3',
}
SOLVER_BAD = {
    "solver_fork": 'net: "a"\nbase_lr: 1\nlr_policy: "plateau"\nplateau_winsize: 3\nmax_iter: 3\n',
    "solver_type": 'net: "a"\nbase_lr: 1\nlr_policy: "fixed"\ntype: "sgd"\nmax_iter: 3\n',
    "solver_no_net": 'base_lr: 1\nlr_policy: "fixed"\nmax_iter: 3\n',
    "solver_two_nets": 'net: "a"\ntrain_net: "b"\nbase_lr: 1\nlr_policy: "fixed"\nmax_iter: 3\n',
    "solver_blank": 'net:\nbase_lr: 1\nlr_policy: "fixed"\nmax_iter: 3\n',
    "solver_comma": 'net: "a"\nbase_lr: 0,1\nlr_policy: "fixed"\nmax_iter: 3\n',
    "solver_policy": 'net: "a"\nbase_lr: 1\nlr_policy: "Step"\nmax_iter: 3\n',
    "solver_quotes": 'net: "a"\nbase_lr: 1\nlr_policy: "fixed"\nmax_iter: 3\nsolver_mode: "CPU"\n',
    "solver_case": 'net: "a"\nbase_lr: 1\nlr_policy: "fixed"\nmax_iter: 3\nsolver_mode: gpu\n',
}
ALL = {**GOOD, **FORK, **PYTHON, **CAFFE, **SYNTAX, **SHAPES, **OURS, **SOLVERS, **SOLVER_BAD}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("wild")
    (base / "deep" / "er").mkdir(parents=True)
    for number, (name, text) in enumerate(ALL.items()):
        where = (base, base / "deep", base / "deep" / "er")[number % 3]
        (where / f"{name}.prototxt").write_text(text, newline="")
    hostile = base / "hostile"
    hostile.mkdir()
    (hostile / "nested.prototxt").write_text("layer { " * 100_000)
    (hostile / "huge.prototxt").write_text(
        INPUT + FC.replace("num_output: 10", "num_output: 4000000000").replace("top", "axis: 1 top", 0)
    )
    (hostile / "huge_input.prototxt").write_text(
        'input: "data" input_shape { dim: 2147483647 dim: 2147483647 dim: 2147483647 }\n' + FC
    )
    (hostile / "binary.prototxt").write_bytes(b"layer {\x00\x01\x02" * 50)
    (hostile / "large.prototxt").write_bytes(b"# nothing\n" * 900_000)
    (hostile / "many.prototxt").write_text(INPUT + 'layer { type: "Silence" bottom: "data" }\n' * 3000)
    (hostile / "empty.prototxt").write_text("")
    (hostile / "labelmap.prototxt").write_text('item { name: "none" label: 0 }\n')
    (hostile / "gone.prototxt").symlink_to(hostile / "not_there")
    (hostile / "circle.prototxt").symlink_to(hostile / "circle.prototxt")
    (hostile / "folder.prototxt").mkdir()
    os.mkfifo(hostile / "pipe.prototxt")
    (hostile / "n\nl\x1b[31m.prototxt").write_text(INPUT + FC)
    (base / "notes.txt").write_text("layer {")
    (base / "loop").symlink_to(base)
    return base


def run(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(TOOL), str(folder), *options], capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, Any]]:
    made = json.loads(run(folder, "--json"))
    return {Path(one["file"]).stem: one for one in made}


@pytest.mark.parametrize("name", GOOD)
def test_what_builds_and_runs(found, name):
    one = found[name]
    assert (one["sort"], one["parses"], one["builds"], one["runs"]) == ("net", True, True, True), one
    assert not one["blockers"]


def test_what_was_assumed_is_said(found):
    notes = "\n".join(found["train_val"]["notes"])
    assert "TRAIN: layer 'data' (Data): ilsvrc12_train_lmdb is not there" in notes
    assert "TEST: layer 'data' (Data): ilsvrc12_val_lmdb is not there; mean.binaryproto is not there" in notes
    assert "TRAIN: 'data' taken as 256,3,32,32: crop_size and mean values or colour tell it" in notes
    assert "'label' taken as 1,1,227,227: as layer 'loss' (SoftmaxWithLoss) needs it" in "\n".join(
        found["segmentation"]["notes"]
    )
    assert found["stages"]["phases"] == ["TRAIN with stage deploy", "TEST with stage deploy"]


@pytest.mark.parametrize(
    ("names", "kind"),
    [(FORK, "fork"), (PYTHON, "python"), (CAFFE, "caffe"), (OURS, "ours"), (SHAPES, "shapes")],
    ids=lambda x: str(x)[:9],
)
def test_refusals_are_of_their_kind(found, names, kind):
    for name in names:
        one = found[name]
        assert (one["sort"], one["builds"], one["runs"]) == ("net", False, False), one
        assert {b["kind"] for b in one["blockers"]} == {kind}, one


def test_all_that_blocks_a_file_is_found(found):
    assert {b["what"] for b in found["two"]["blockers"]} == {"layer type Permute", "layer type TripletLoss"}
    assert [b["what"] for b in found["hole"]["blockers"]] == ["field hole of ConvolutionParameter"]
    assert [b["said"] for b in found["python"]["blockers"]] == ["line 1: Python layer m.L"]
    assert len(found["no_bottom"]["blockers"]) == 1
    assert {b["kind"] for b in found["unquoted"]["blockers"]} == {"fork", "caffe"}


def test_solvers(found):
    for name in SOLVERS:
        assert (found[name]["sort"], found[name]["builds"]) == ("solver", True), found[name]
    assert [b["kind"] for b in found["solver_fork"]["blockers"]] == ["fork"]
    for name in SOLVER_BAD.keys() - {"solver_fork"}:
        one = found[name]
        assert (one["sort"], one["builds"], [b["kind"] for b in one["blockers"]]) == ("solver", False, ["caffe"]), one


def test_hostile_files_stop_nothing(found):
    for name in ("binary", "large", "empty", "labelmap", "gone", "circle", "pipe"):
        assert not found[name]["builds"], found[name]
    assert found["pipe"]["sort"] == "other" and "no regular file" in found["pipe"]["notes"][0]
    assert not found["nested"]["builds"] and found["nested"]["blockers"]
    assert found["huge"]["builds"] and not found["huge"]["runs"]
    assert "too large to be run" in "\n".join(found["huge"]["notes"])
    assert not found["huge_input"]["builds"]
    assert found["many"]["builds"]
    assert sum("n\nl" in name for name in found) == 1 and "notes" not in found
    assert len(found) == len(ALL) + 12


def test_the_table_and_the_list(found):
    spec = importlib.util.spec_from_file_location("survey_prototxts", TOOL)
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    sys.modules["survey_prototxts"] = tool
    spec.loader.exec_module(tool)
    findings = [tool._finding(json.dumps(one).encode()) for one in found.values()]
    table, listed = list(tool.report(findings)), list(tool.listing(findings))
    assert table[0] == f"nets: {sum(one['sort'] == 'net' for one in found.values())}"
    assert any(
        line.startswith("net     runs ") and line.endswith("train_val.prototxt (TRAIN, TEST)") for line in listed
    )
    assert "          fork: line 2: layer type TripletLoss" in listed
    assert any(r"n\nl\x1b[31m.prototxt" in line for line in listed) and "\x1b" not in "".join(listed)
    most, other = "        2      1  layer type TripletLoss", "        1      0  layer type Permute"
    assert table.index(most) < table.index(other)
    count = len(SOLVERS) + len(SOLVER_BAD)
    solvers = table.index(f"solvers: {count}")
    assert table[solvers + 2].split()[:4] == f"build {len(SOLVERS)} of {count}".split()
    assert "  blocked by what is of kind 'python' (a Python layer): 1 files" in table
    taken = next(line for line in table if "those that Caffe takes" in line)
    others = [name for name in found if not found[name]["builds"] and found[name]["sort"] == "net"]
    ours = [name for name in others if {b["kind"] for b in found[name]["blockers"]} == {"ours"}]
    assert ours == ["output"] and taken.split()[-5:-2] == [str(len(GOOD) + 3), "of", str(len(GOOD) + 5)]
    one_phase = next(line for line in table if "build in one phase alone" in line)
    assert one_phase.split()[-3:] == ["1", "of", str(len([f for f in findings if f.sort == "net"]))]


def test_the_list_by_the_command(tmp_path):
    (tmp_path / "good.prototxt").write_text(GOOD["resnet"])
    (tmp_path / "fork.prototxt").write_text(FORK["hole"])
    lines = run(tmp_path, "--list", "--no-run").splitlines()
    assert "net     builds  good.prototxt (TRAIN, TEST)" in lines and "nets: 2" in lines
    assert "  ran forward and backward                0 of 2 (0.0 %)" in lines


def test_a_file_that_takes_too_long_or_too_much(folder, tmp_path):
    (tmp_path / "slow.prototxt").write_text(INPUT + 'layer { type: "Silence" bottom: "data" }\n' * 60_000)
    (tmp_path / "good.prototxt").write_text(GOOD["resnet"])
    made = {Path(one["file"]).stem: one for one in json.loads(run(tmp_path, "--json", "--seconds", "1"))}
    assert made["good"]["runs"]
    assert [b["what"] for b in made["slow"]["blockers"]] == ["longer than the limit"] and made["slow"]["sort"] == "net"


def test_nothing_to_look_at(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "expected a folder of prototxts, found nothing there" in done.stderr
    assert run(tmp_path).strip() == ""
