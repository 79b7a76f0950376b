"""tools/corpus_statistics.py, run as a program."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT
from tests.weights.conftest import as_npz

TOOL = [sys.executable, str(ROOT / "tools/corpus_statistics.py")]


def run(*arguments):
    return subprocess.run([*TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_a_folder_of_faces(faces, made_up, tmp_path):
    weights = as_npz(tmp_path / "other.npz", made_up)
    done = run(faces, "--weights", weights, "--accept-other-weights", "--components", 20)
    assert done.returncode == 0, done.stderr
    first, variance, length, told = done.stdout.splitlines()
    assert first.startswith("48 images of 5 people; conv3 of ")
    shares = [float(word.rstrip("%,")) for word in variance.split() if word.rstrip(",").endswith("%")]
    assert abs(sum(shares) - 100) < 0.2 and min(shares) > 0
    assert float(length.split()[-1]) > 0 and 0 <= float(told.split()[-1].rstrip("%")) <= 100


def test_weights_and_faces_that_are_not_there(faces, tmp_path):
    done = run(faces, "--weights", tmp_path / "none.npz")
    assert done.returncode == 2 and "none.npz" in done.stderr and len(done.stderr.splitlines()) == 1
    done = run(tmp_path / "nobody", "--weights", tmp_path / "none.npz")
    assert done.returncode == 2 and "Traceback" not in done.stderr
