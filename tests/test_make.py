"""make help documents every variable and target that the README names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from siamplex.engine.training.result import Result

ROOT = Path(__file__).resolve().parents[1]


def dry(target: str, *variables: str) -> str:
    """What make would run: its words as the shell takes them apart, a blank between them."""
    command = ["make", "-n", target, *variables]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return " ".join(shlex.split(text.replace("\\\n", " ")))


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_help():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for word in "demo test pairs prototxt train finetune features figures weights report audit".split():
        assert f"\n  {word} " in text
    for variable in ("FACES=", "OUT=", "ENGINE=", "DEVICE="):
        assert variable in text


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_variables_reach_the_commands():
    text = dry("figures", "FACES=/data/nim", "OUT=mine", "ENGINE=caffe", "DEVICE=cuda", "LAYOUT=stacked")
    assert "index /data/nim --out mine/index.csv" in text and "siamplex faces" not in text
    assert "--engine caffe --device cuda" in text and "mine/solvers/stage1_stacked.prototxt" in text
    assert "images.caffemodel" not in text and "--lean-snapshots" not in text


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_peoples_judgements_reach_similarity_and_maps():
    text = dry("report", "OUT=mine", "HUMAN=/data/people.csv")
    assert "--human /data/people.csv" in text and "mds /data/people.csv" in text
    assert "report mine" in text


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_a_multiverse_needs_no_training():
    text = dry("multiverse", "OUT=mine", "GRID=/data/my grid.toml", "CELLS=9", "ALEXNET=/data/alexnet.npz")
    assert "siamplex multiverse mine --grid /data/my grid.toml --cells 9" in text and "--hours" not in text
    assert "siamplex train" not in text and "siamplex plan --check init OUT=mine" in text
    assert "--hours 2.5" in dry("multiverse", "HOURS=2.5")


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_later_steps_use_the_snapshot_a_stage_stopped_at(tmp_path):
    for stage, iteration in ((1, 2750), (2, 1500)):
        (tmp_path / f"stage{stage}").mkdir()
        Result(iteration, f"snap_iter_{iteration}.caffemodel", 4000, "validation", (iteration, 0.1), 4, {}).write(
            str(tmp_path / f"stage{stage}/snap")
        )
    text = dry("report", f"OUT={tmp_path}", "EARLY_STOP=1", "PATIENCE=3")
    assert text.count("--early-stop --patience 3") == 2
    assert f"--weights {tmp_path}/stage1/snap_iter_2750.caffemodel" in text  # stage 2's start
    assert "for n in 2000 2750; do" in text
    assert f"--weights {tmp_path}/stage2/snap_iter_1500.caffemodel" in text
    assert f"geometry {tmp_path}/features/stage1_iter_2750.npz" in text
    assert f"stage1_iter_2000.npz {tmp_path}/features/stage1_iter_2750.npz --stage2" in text
    assert "snap_iter_5000" not in text
    # nothing better than the start: it is shown once
    Result(0, "snap_iter_0.caffemodel", 1000, "validation", (0, 0.1), 4, {}).write(str(tmp_path / "stage1/snap"))
    text = dry("report", f"OUT={tmp_path}", "EARLY_STOP=1")
    assert f"--stage1 {tmp_path}/features/stage1_iter_0.npz --stage2" in text
    assert f"geometry {tmp_path}/features/stage1_iter_0.npz" in text
    # off by default: the paper's iterations, whatever a run came to before
    for off in ((), ("EARLY_STOP=0",)):
        text = dry("report", f"OUT={tmp_path}", *off)
        assert "--early-stop" not in text and f"{tmp_path}/stage1/snap_iter_5000.caffemodel" in text
        assert "for n in 2000 3000 4000 5000; do" in text


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_weights_are_looked_at_before_faces(tmp_path):
    """Nothing is indexed or paired when there is nothing right to start from."""
    bad = tmp_path / "bad.npz"
    bad.write_text("no archive")
    (tmp_path / "bin").mkdir()
    (tmp_path / ".ready").touch()  # an environment of this interpreter, newer than pyproject.toml
    python = tmp_path / "bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    base = ["make", "train", f"FACES={tmp_path}", f"OUT={tmp_path}/run", f"VENV={tmp_path}"]
    for more, said in (
        ([f"ALEXNET={bad}"], "bad.npz: expected a caffemodel, an ONNX model or an npz archive"),
        ([f"ALEXNET={tmp_path}/none"], f"{tmp_path}/none"),
        (["ALEXNET="], "SUBSTITUTE=1 starts from a stated substitute"),
    ):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        done = subprocess.run([*base, *more], cwd=ROOT, capture_output=True, text=True, env=environment)
        assert done.returncode == 2 and said in done.stderr
        assert not (tmp_path / "run").exists()
