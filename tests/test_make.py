"""make help documents every variable and target that the README names."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_help():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for word in "demo test pairs prototxt train finetune features figures weights report audit".split():
        assert f"\n  {word} " in text
    for variable in ("FACES=", "OUT=", "ENGINE=", "DEVICE="):
        assert variable in text


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_variables_reach_the_commands():
    text = subprocess.run(
        ["make", "-n", "figures", "FACES=/data/nim", "OUT=mine", "ENGINE=caffe", "DEVICE=cuda", "LAYOUT=stacked"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert 'index "/data/nim" --out mine/index.csv' in text and "siamplex faces" not in text
    assert "--engine caffe --device cuda" in text and "mine/solvers/stage1_stacked.prototxt" in text
    assert "images.caffemodel" not in text and "--lean-snapshots" not in text


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_peoples_judgements_reach_similarity_and_maps():
    text = subprocess.run(
        ["make", "-n", "report", "OUT=mine", "HUMAN=/data/people.csv"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert '--human "/data/people.csv"' in text and 'mds "/data/people.csv"' in text
    assert "report mine" in text
