"""The whole pipeline by make where every folder and file has blanks, quotes and letters beyond ASCII in its name."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "ACTORS=6 SIZE=40 WIDTH=0.1 BATCH=16 STAGE2_BATCH=16 ITERATIONS=40 STAGE2_ITERATIONS=20 SNAPSHOT=20 DISPLAY=10 "
    "TEST_INTERVAL=20 SUBSTITUTE=1"
)
ODD = ("mein Lauf é", '顔 #1 (it\'s "new") & more; *')

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make here")


@pytest.fixture
def made(tmp_path):
    """Make, in an environment of this interpreter; the checkout itself lies in a folder with a blank in its name."""
    venv = tmp_path / "mon envé"
    (venv / "bin").mkdir(parents=True)
    for name, start in (("python", ""), ("siamplex", "-m siamplex ")):
        script = venv / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {start}"$@"\n')
        script.chmod(0o755)
    checkout = tmp_path / "the checkout"
    checkout.mkdir()
    shutil.copytree(ROOT / "tools", checkout / "tools")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, checkout / name)
    os.utime(checkout / "pyproject.toml", (1, 1))  # older than the environment, also where the clock ticks slowly
    (venv / ".ready").touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["make", *words, *SMALL.split(), "SHOWN=20 40", f"VENV={venv}"]
        return subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=environment, timeout=600)

    return run


def judgements(path: Path) -> Path:
    """Judgements of the six emotions as points on a circle."""
    codes = ["AN", "DI", "FE", "HA", "SA", "SP"]
    angles = np.arange(6) * np.pi / 3
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["", *codes])
        writer.writerows([code, *map(str, row)] for code, row in zip(codes, distances, strict=True))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_a_run_in_a_folder_of_any_name(made, tmp_path, name):
    out = tmp_path / name
    human = judgements(tmp_path / f"people {name}.csv")
    done = made("report", f"OUT={out}", f"HUMAN={human}")
    assert done.returncode == 0, done.stderr[-2000:]
    parts = ("figures/fig5.png", "geometry/stage2.json", "similarity/stage2.json", "report/report.html")
    missing = [part for part in parts if not (out / part).is_file()]
    assert not missing, sorted(str(p.relative_to(out)) for p in out.rglob("*.*"))
    assert list((out / "maps").glob("people*.png"))
    commands = [entry["command"] for entry in json.loads((out / "run.json").read_text())["steps"]]
    assert commands.count("train") == 2
    # and nothing lies where a part of the name would have led
    assert {p.name for p in tmp_path.iterdir()} == {"mon envé", "the checkout", name, human.name}
    assert {p.name for p in (tmp_path / "the checkout").iterdir()} == {"Makefile", "pyproject.toml", "tools"}

    again = made("report", f"OUT={out}", f"HUMAN={human}")
    assert again.returncode == 0 and "pairs: unchanged" in again.stderr
    audited = made("audit", f"OUT={out}")
    assert audited.returncode == 2 and "Traceback" not in audited.stderr  # a small run differs from the paper


@pytest.mark.slow
def test_own_faces_and_weights_of_any_name(made, tmp_path):
    faces, out = tmp_path / "Bilder é 顔", tmp_path / "l'essai"
    assert made("pairs", f"OUT={tmp_path / 'first'}").returncode == 0
    shutil.copytree(tmp_path / "first/faces", faces)
    (faces / "SYNTHETIC.json").unlink()
    done = made("train", f"OUT={out}", f"FACES={faces}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (out / "stage1/snap_iter_40.caffemodel").is_file() and not (out / "faces").exists()


@pytest.mark.parametrize("name", ["a$b", "a\nb"])
def test_what_make_would_change_is_refused(made, tmp_path, name):
    done = made("index", f"OUT={tmp_path}/{name}")
    assert done.returncode == 2 and "OUT: expected a name without" in done.stderr
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("mon envé", "the checkout")] == []
