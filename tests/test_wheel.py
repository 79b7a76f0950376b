"""An installed wheel works without the checkout: all its data files are in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel of this checkout unpacks to."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = folder / "source"  # building leaves files behind
    shutil.copytree(ROOT / "python", source / "python", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    build = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("siamplex-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


@pytest.mark.slow
def test_a_small_run_from_a_wheel(installed, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(installed)}

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "siamplex", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    where = [sys.executable, "-c", "import siamplex; print(siamplex.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(installed)
    small = ["--width", "0.1", "--batch-size", "8", "--iterations", "4", "--snapshot", "4", "--test-interval", "2"]
    run("faces", "run/faces", "--actors", "6")
    run("index", "run/faces", "--out", "run/index.csv")
    run("pairs", "--index", "run/index.csv", "--out", "run/pairs", "--size", "40")
    nets = ["--run", "run", "--nets", "run/prototxt", "--solvers", "run/solvers"]
    run("prototxt", "--pairs", "run/pairs", *nets, *small)
    run(
        "weights",
        "--deploy",
        "run/prototxt/deploy.prototxt",
        "--pairs",
        "run/pairs",
        "--out",
        "run/weights/init.caffemodel",
    )
    run("train", "--solver", "run/solvers/stage1_indexed.prototxt", "--weights",
        "run/weights/init.caffemodel,run/pairs/images.caffemodel")  # fmt: skip
    run("extract", "--pairs", "run/pairs", "--deploy", "run/prototxt/deploy.prototxt", "--weights",
        "run/stage1/snap_iter_4.caffemodel", "--out", "run/features/stage1_iter_4.npz")  # fmt: skip
    run("report", "run")
    page = (tmp_path / "run/report/report.html").read_text(encoding="utf-8")
    assert "<style>" in page and "stage1_iter_4" in page
    assert "nimstim" in run("index", "--help").lower()
