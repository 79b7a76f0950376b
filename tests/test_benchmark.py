"""tools/benchmark.py: a side is measured several times in one folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from siamplex.cli import main
from tests.multiverse.small_run import make_run

TOOL = Path(__file__).parents[1] / "tools" / "benchmark.py"


@pytest.mark.slow
def test_a_stage_is_measured_in_every_round(faces, tmp_path, monkeypatch):
    """Each round is a process of its own, and finds the snapshots of the one before."""
    make_run(tmp_path, faces)
    monkeypatch.chdir(tmp_path)
    assert main(["weights", "--deploy", "run/prototxt/deploy.prototxt", "--or-substitute"]) == 0
    Path("run/solvers").rename("solvers16")
    times = []
    for _ in range(2):
        job = json.dumps({"stage": 1, "iterations": 4, "batch": 16})
        done = subprocess.run([sys.executable, str(TOOL), "--child", "ours", job], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        times.append(json.loads(done.stdout.splitlines()[-1]))
    assert all(0 < t["each"] < 60 and t["images"] > t["trained"] > 0 and t["peak"] > 0 for t in times)
    assert len(list(Path("bench").glob("stage1_iter_4.*model"))) == 1
