"""Frozen layers that no weights fill are refused, unless their fillers were meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from siamplex.cli import main
from siamplex.engine.solver import Solver, TrainOptions
from siamplex.engine.unfilled import frozen_unfilled
from siamplex.errors import PrototxtError
from siamplex.schema import prototxt

pytestmark = pytest.mark.unfilled


def layers(text: str) -> list:
    return list(prototxt.parse(text, "NetParameter").message.layer)


CONV = 'layer {{ name: "c" type: "Convolution" {rates} convolution_param {{ num_output: 2 kernel_size: 1 {filler} }} }}'
FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"


@pytest.mark.parametrize(
    ("rates", "filler", "filled", "refused"),
    [
        (FROZEN, 'weight_filler { type: "xavier" }', [], True),
        (FROZEN, 'weight_filler { type: "constant" }', [], True),
        (FROZEN, "", [], True),
        (FROZEN, 'weight_filler { type: "xavier" }', ["c"], False),
        (FROZEN, 'weight_filler { type: "bilinear" }', [], False),
        (FROZEN, 'weight_filler { type: "constant" value: 0.5 }', [], False),
        ("param { lr_mult: 1 } param { lr_mult: 0 }", 'weight_filler { type: "xavier" }', [], False),
        ("", 'weight_filler { type: "xavier" }', [], False),
    ],
)
def test_what_counts(rates, filler, filled, refused):
    assert bool(frozen_unfilled(layers(CONV.format(rates=rates, filler=filler)), filled)) == refused


def test_statistics_and_defaults_are_meant():
    batch_norm = 'layer { name: "b" type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }'
    scale = 'layer { name: "s" type: "Scale" param { lr_mult: 0 } }'
    assert frozen_unfilled(layers(batch_norm + scale), []) == []


def test_a_twin_is_filled_with_the_layer_that_owns_its_arrays():
    one = 'layer { name: "c" type: "Convolution" param { name: "w" lr_mult: 0 } convolution_param { num_output: 1 } }'
    two = one.replace('"c"', '"c_p"')
    assert frozen_unfilled(layers(one + two), ["c"]) == []
    assert frozen_unfilled(layers(one + two), []) == ["c"]


def test_a_run_is_refused_by_layer_and_line(twin_solver, tmp_path):
    path = twin_solver(conv=0)
    with pytest.raises(PrototxtError, match=r"net\.prototxt:6: layer 'conv' \(Convolution\): frozen, and in none of"):
        Solver(path, TrainOptions(quiet=True))
    solver = Solver(path, TrainOptions(quiet=True, allow_unfilled=True))
    solver.solve()
    from siamplex.engine.snapshot import Manifest

    assert Manifest.read(tmp_path / "snap_iter_12.json").unfilled == ["conv"]
    learning = twin_solver(conv=1, prefix="other")
    Solver(learning, TrainOptions(quiet=True)).solve()


def test_the_image_table_left_out_is_refused_everywhere(own_run, capsys, tmp_path):
    """Of a run of siamplex: the table left out of --weights, a lean snapshot alone, caffe test."""
    solver, weights = "run/solvers/stage1_indexed.prototxt", "run/weights/init.caffemodel"
    shutil.rmtree(own_run / "stage1")
    said = "layer 'images' (Embed)"
    command = ["train", "--solver", solver, "--weights"]
    assert main([*command, weights]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in last and "train_val_stage1_indexed.prototxt:" in last and "--allow-unfilled" in last
    assert not list((own_run / "stage1").glob("*.caffemodel")) if (own_run / "stage1").exists() else True
    table = "run/pairs/images.caffemodel"
    assert main([*command, f"{weights},{table}", "--lean-snapshots"]) == 0
    lean = "run/stage1/snap_iter_6.caffemodel"
    capsys.readouterr()
    shutil.rmtree(own_run / "stage2")
    stage2 = ["train", "--solver", "run/solvers/stage2_indexed.prototxt", "--weights"]
    assert main([*stage2, lean]) == 2
    assert said in capsys.readouterr().err
    assert main([*stage2, f"{lean},{table}"]) == 0
    test = ["caffe", "test", "-model", "run/prototxt/train_val_stage1_indexed.prototxt", "-iterations", "1", "-weights"]
    capsys.readouterr()
    assert main([*test, lean]) == 2
    assert said in capsys.readouterr().err
    assert main([*test, f"{lean},{table}"]) == 0
    assert main([*test, lean, "-allow_unfilled=true"]) == 0


def test_the_audit_tells(own_run, capsys):
    shutil.rmtree(own_run / "stage1")
    solver, weights = "run/solvers/stage1_indexed.prototxt", "run/weights/init.caffemodel"
    assert main(["train", "--solver", solver, "--weights", weights, "--allow-unfilled"]) == 0
    capsys.readouterr()
    assert main(["audit", "run"]) == 1
    first, second = [x for x in Path("run/audit/audit.txt").read_text().splitlines() if "frozen layers" in x]
    assert "all but images" in first and "differs" in first and "same" in second


def test_the_real_engine_is_not_handed_such_a_net(twin_solver, tmp_path, monkeypatch):
    from siamplex.caffe_engine.training import train

    binary = tmp_path / "caffe"
    binary.write_text('#!/bin/sh\n[ "$1" = --version ] && echo caffe version 1.0.0 && exit\ntouch ran\n')
    binary.chmod(0o755)
    monkeypatch.setenv("CAFFE_BIN", str(binary))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PrototxtError, match="layer 'conv'"):
        train(twin_solver(conv=0, more="solver_mode: CPU"))
    assert not (tmp_path / "ran").exists()
