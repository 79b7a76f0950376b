"""tools/pycaffe_binary.py over a stand-in for Caffe's Python module that records what it is asked to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOOL = ROOT / "tools" / "pycaffe_binary.py"
MODULE = """
import sys
TEST, __version__ = 1, "1.0.0"
class Net:
    def __init__(self, *what, **more): print("net", *what, *more.values())
    def copy_from(self, name): print("copy", name)
    def forward(self): return {"loss": Loss()}
class Loss:
    def ravel(self): return [0.25]
class Solver:
    def __init__(self, name): self.net, self.test_nets = Net(name), [Net("test")]
    def restore(self, name): print("restore", name)
    def solve(self): print("solve")
get_solver = Solver
def set_mode_cpu(): print("cpu")
def log(text): print("log", text)
"""


@pytest.fixture
def caffe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the program made by the tool; returns its exit code and what it and the module print."""
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "caffe.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "module"))
    made = subprocess.run([sys.executable, TOOL, tmp_path / "bin", "--python", sys.executable], check=False)
    assert made.returncode == 0 and (tmp_path / "bin" / "extract_features").exists()

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([tmp_path / "bin" / "caffe", *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_train_takes_weights_for_all_nets_and_solves(caffe):
    code, said = caffe("train", "-solver=s.prototxt", "--weights", "a,b")
    assert code == 0
    assert said.splitlines()[:3] == ["cpu", "net s.prototxt", "net test"]
    assert [line for line in said.splitlines() if line.startswith("copy")] == ["copy a", "copy a", "copy b", "copy b"]
    assert said.rstrip().endswith("solve\nlog Optimization Done.")


def test_train_goes_on_from_a_snapshot(caffe):
    code, said = caffe("train", "--solver=s.prototxt", "-snapshot", "x.solverstate")
    assert code == 0 and "restore x.solverstate" in said and "copy" not in said


def test_test_prints_each_batch_and_the_mean(caffe):
    code, said = caffe("test", "-model=n.prototxt", "-weights=w", "-iterations=2")
    assert code == 0 and "net n.prototxt 1 w" in said
    assert [line for line in said.splitlines() if "loss" in line] == [
        "log Batch 0, loss = 0.25", "log Batch 1, loss = 0.25", "log loss = 0.25"]  # fmt: skip


def test_version_and_what_is_not_served(caffe):
    assert caffe("--version") == (0, "caffe version 1.0.0\n")
    code, said = caffe("time", "-model=n.prototxt")
    assert code == 1 and "serves train and test, not time" in said
    code, said = caffe("device_query", "-gpu=0")
    assert code == 1 and "CPU-only" in said
