"""`siamplex net`: the table, both phases, missing sources, solvers, drawings."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from siamplex.cli import main

NET = """name: "small"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "train_lmdb" batch_size: 8 backend: LMDB } transform_param { crop_size: 20 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "test_lmdb" batch_size: 2 backend: LMDB } transform_param { crop_size: 20 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 5 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
DEPLOY = """name: "tower" input: "data" input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 20
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 5 } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def rows(text: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line) for line in text.splitlines()]


def test_both_phases_where_they_differ(folder, capsys):
    assert main(["net", "net.prototxt"]) == 0
    out, err = capsys.readouterr()
    table = rows(out)
    assert ["small, TRAIN"] in table and ["small, TEST"] in table
    assert ["conv", "Convolution", "conv", "8 x 4 x 16 x 16", "304", "614,400", "32.0 KiB"] in table
    assert ["conv", "Convolution", "conv", "2 x 4 x 16 x 16", "304", "153,600", "8.0 KiB"] in table
    assert ["relu", "ReLU", "conv", "8 x 4 x 16 x 16", "in place"] in table
    assert ["data", "Data", "data", "8 x 3 x 20 x 20", "37.5 KiB"] in table and ["", "label", "8"] in table
    assert "train_lmdb is not there" in err and "test_lmdb is not there" in err
    assert "--input data=8,3,20,20 gives it" in err


def test_one_phase_and_one_that_is_alike(folder, capsys):
    assert main(["net", "net.prototxt", "--phase", "TEST"]) == 0
    out, err = capsys.readouterr()
    assert "TRAIN" not in out and "train_lmdb" not in err
    assert main(["net", "deploy.prototxt"]) == 0
    out = capsys.readouterr().out
    assert "tower, TRAIN and TEST alike" in out
    blobs, parameters = 4 * (3 * 20 * 20 + 4 * 16 * 16), 4 * 304
    assert rows(out)[-2] == ["total", "304", "76,800", f"{(2 * blobs + 3 * parameters) / 1024:.1f} KiB"]
    assert f"({(blobs + parameters) / 1024:.1f} KiB in phase TEST, without gradients)" in out


def test_shapes_given(folder, capsys):
    assert main(["net", "net.prototxt", "--phase", "TRAIN", "--input", "data=4,1,28,30", "--input", "label=4"]) == 0
    out, err = capsys.readouterr()
    assert ["conv", "Convolution", "conv", "4 x 4 x 24 x 26", "104", "249,600", "39.0 KiB"] in rows(out)
    assert "taken as 4,1,28,30: given" in err
    for wrong in ("data", "data=", "data=1,x", "=1", "data=-1,2"):
        assert main(["net", "net.prototxt", "--input", wrong]) == 2
        assert "expected BLOB=N,C,H,W" in capsys.readouterr().err
    assert main(["net", "net.prototxt", "--input", "dta=1,2"]) == 2
    assert "--input dta: net.prototxt has no layer with that top" in capsys.readouterr().err


def test_a_solver_is_followed_to_its_nets(folder, capsys):
    (folder / "solver.prototxt").write_text('train_net: "net.prototxt" test_net: "deploy.prototxt"\nbase_lr: 0.1\n')
    assert main(["net", "solver.prototxt"]) == 0
    out, err = capsys.readouterr()
    assert "small, TRAIN" in out and "tower, TEST" in out
    assert "solver.prototxt is a solver; phase TRAIN is of net.prototxt" in err
    (folder / "solver.prototxt").write_text('net: "no.prototxt"\nbase_lr: 0.1\n')
    assert main(["net", "solver.prototxt"]) == 2
    assert "solver.prototxt:1: net 'no.prototxt': expected a net prototxt" in capsys.readouterr().err
    (folder / "solver.prototxt").write_text("base_lr: 0.1\n")
    assert main(["net", "solver.prototxt"]) == 2
    assert "expected one of net, net_param" in capsys.readouterr().err


def test_a_net_of_one_phase(folder, capsys):
    lines = NET.splitlines(keepends=True)
    (folder / "net.prototxt").write_text("".join(lines[:3] + lines[5:]))
    assert main(["net", "net.prototxt"]) == 0
    out, err = capsys.readouterr()
    assert "small, TRAIN" in out and "TEST" not in out and "left out, as it does not build in that phase" in err
    assert main(["net", "net.prototxt", "--phase", "TEST"]) == 2
    assert "bottom 'data' is no top" in capsys.readouterr().err


def test_what_does_not_build_is_one_line(folder, capsys):
    (folder / "net.prototxt").write_text(NET.replace("SoftmaxWithLoss", "SoftMaxOfMine"))
    assert main(["net", "net.prototxt"]) == 2
    out, err = capsys.readouterr()
    assert not out and len(err.splitlines()) == 1 and "net.prototxt:9: layer 'loss': type 'SoftMaxOfMine'" in err


def test_shapes_that_are_guesses_are_named_with_the_fault(folder, capsys):
    text = """layer { name: "d" type: "HDF5Data" top: "x" top: "y"
      hdf5_data_param { source: "list.txt" batch_size: 2 } }
    layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 3 } }
    layer { name: "f" type: "InnerProduct" bottom: "c" top: "f" inner_product_param { num_output: 9 } }
    layer { name: "r" type: "Reshape" bottom: "y" top: "r" reshape_param { shape { dim: -1 dim: 7 } } }
    layer { name: "e" type: "EuclideanLoss" bottom: "f" bottom: "x" top: "e" }
    layer { name: "q" type: "Silence" bottom: "r" }"""
    Path("guessed.prototxt").write_text(text)
    assert main(["net", "guessed.prototxt"]) == 2
    said = capsys.readouterr().err
    assert "guessed.prototxt:6: layer 'e' (EuclideanLoss)" in said and len(said.splitlines()) == 1
    assert "layer 'd' (HDF5Data): list.txt is not there" in said and "--input x=2,3,28,28" in said
    assert main(["net", "guessed.prototxt", "--input", "x=2,1,3,3", "--input", "y=2,7"]) == 0
    rows = {row.split()[0]: row for row in capsys.readouterr().out.splitlines()[2:]}
    assert rows["q"].split() == ["q", "Silence"]  # neither a top nor a loss


def test_the_graph_is_written_and_drawn(folder, capsys):
    assert main(["net", "net.prototxt", "--phase", "TRAIN", "--dot", "net.dot"]) == 0
    dot = (folder / "net.dot").read_text()
    assert dot.count(" -> ") == 5 and r'label="conv\n8 x 4 x 16 x 16"' in dot
    assert dot.startswith('digraph "small TRAIN"')
    assert dot.count("[label=") == 5 + 5
    assert main(["net", "net.prototxt", "--phase", "TRAIN", "--svg", "net.svg"]) == 2
    assert "expected graphviz's dot on the PATH, found none" in capsys.readouterr().err
    assert not (folder / "net.svg").exists()
    program = folder / "bin" / "dot"
    program.write_text("#!/bin/sh\necho '<svg>'\nwhile read -r line; do echo \"$line\"; done\necho '</svg>'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert main(["net", "net.prototxt", "--phase", "TRAIN", "--svg", "net.svg"]) == 0
    assert (folder / "net.svg").read_text().startswith("<svg>\ndigraph")
    program.write_text("#!/bin/sh\necho syntax error near line 3 >&2\nexit 1\n")
    assert main(["net", "net.prototxt", "--svg", "other.svg"]) == 2
    assert "exit code 1): syntax error near line 3" in capsys.readouterr().err
    assert not (folder / "other.svg").exists()


def test_names_that_would_break_out_of_the_graph(folder):
    text = DEPLOY.replace('"conv"', r'"co\"] x [\n\\"')
    (folder / "deploy.prototxt").write_text(text)
    assert main(["net", "deploy.prototxt", "--dot", "net.dot"]) == 0
    dot = (folder / "net.dot").read_text()
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", dot)
    assert '"' not in bare and bare.count("[label=Q, fillcolor=Q]") == 2


def test_names_that_are_no_text_for_a_terminal(folder, capsys):
    (folder / "deploy.prototxt").write_text(
        DEPLOY.replace('"conv"', r'"co\x1b[31m"').replace('"tower"', r'"to\x07wer"')
    )
    assert main(["net", "deploy.prototxt"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and r"co\x1b[31m" in out


def test_what_lies_outside_is_not_looked_at(folder, capsys, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "net.prototxt").write_text(NET.replace("train_lmdb", str(elsewhere)))
    assert main(["net", "net.prototxt", "--phase", "TRAIN"]) == 0
    assert "lies elsewhere, and is not looked at" in capsys.readouterr().err
    assert main(["net", "net.prototxt", "--phase", "TRAIN", "--allow-outside"]) == 0
    assert "lies elsewhere" not in capsys.readouterr().err
