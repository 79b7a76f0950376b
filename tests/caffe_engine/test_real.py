"""The pipeline on both engines, wherever a real caffe binary is given by CAFFE_BIN."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from siamplex.caffe_engine.binary import find_binary
from siamplex.cli import main
from siamplex.engine.training.loss_log import read_losses
from siamplex.errors import InputError
from siamplex.geometry.embedding import read_embedding
from tests.conftest import ROOT

pytestmark = pytest.mark.real_caffe
NETS = "--width 0.125 --dropout 0 --iterations 8 --base-lr 0.001 --display 1 --snapshot 4 --batch-size 16"


@pytest.fixture(scope="module")
def real_caffe():
    """The binary that CAFFE_BIN names; skips without one."""
    if not os.environ.get("CAFFE_BIN"):
        pytest.skip("CAFFE_BIN names no caffe binary")
    try:
        return find_binary()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("layout", ["indexed", "stacked"])
def test_the_pipeline_is_the_same_on_both_engines(real_caffe, faces, tmp_path, monkeypatch, layout):
    monkeypatch.chdir(tmp_path)

    def run(text):
        assert main(text.split()) == 0

    run(f"index {faces}")
    for engine in ("torch", "caffe"):
        table = f",{engine}/pairs/images.caffemodel" if layout == "indexed" else ""
        run(f"pairs --out {engine}/pairs --size 35 --fractions 0.6 0.2 0.2 --layout {layout}")
        run(f"prototxt --pairs {engine}/pairs --run {engine} --nets {engine}/prototxt --solvers {engine}/solvers "
            f"{NETS} --test-interval 4 --test-iter 2")  # fmt: skip
        run(f"weights --deploy {engine}/prototxt/deploy.prototxt --out {engine}/weights/init.caffemodel")
        for stage, start in ((1, "weights/init"), (2, "stage1/snap_iter_8")):
            run(f"train --engine {engine} --solver {engine}/solvers/stage{stage}_{layout}.prototxt "
                f"--weights {engine}/{start}.caffemodel{table}")  # fmt: skip
        run(
            f"extract --engine {engine} --pairs {engine}/pairs --weights {engine}/stage2/snap_iter_8.caffemodel "
            f"--deploy {engine}/prototxt/deploy.prototxt --out {engine}/features/stage2.npz --batch-size 7"
        )
    for stage in (1, 2):
        ours, theirs = (read_losses(f"{engine}/stage{stage}/snap_losses.csv") for engine in ("torch", "caffe"))
        assert [r[0] for r in ours] == [r[0] for r in theirs] == list(range(9))
        np.testing.assert_allclose([r[1] for r in ours], [r[1] for r in theirs], rtol=1e-4)
        tests = [(tmp_path / engine / f"stage{stage}/snap_test.csv").read_text() for engine in ("torch", "caffe")]
        values = [[float(line.split(",")[3]) for line in text.splitlines()[1:]] for text in tests]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
    a, b = (read_embedding(tmp_path / engine / "features/stage2.npz") for engine in ("torch", "caffe"))
    assert a.images == b.images
    np.testing.assert_allclose(a.points, b.points, atol=1e-4 * np.abs(a.points).max())


def test_each_goes_on_from_the_others_snapshot(real_caffe, goldens, tmp_path, monkeypatch):
    import shutil

    for first, second in (("torch", "caffe"), ("caffe", "torch")):
        folder = tmp_path / first
        shutil.copytree(goldens / "stacked_full", folder, copy_function=shutil.copyfile)
        monkeypatch.chdir(folder)
        solver = folder / "solver.prototxt"
        whole = solver.read_text()
        solver.write_text(whole.replace("max_iter: 40", "max_iter: 20"))
        weights = ["--weights", "init.caffemodel"]
        assert main(["train", "--engine", first, "--solver", "solver.prototxt", *weights]) == 0
        solver.write_text(whole)
        state = ["--snapshot", "snap_iter_20.solverstate"]
        assert main(["train", "--engine", second, "--solver", "solver.prototxt", *state]) == 0
        rows = read_losses("snap_losses.csv")
        assert [r[0] for r in rows][-1] == 40 and np.isfinite([r[1] for r in rows]).all()


@pytest.mark.parametrize("case", ["stacked_full", "indexed_full", "margin_inv_policy", "legacy_loss_itersize"])
def test_compare_engines_says_same(real_caffe, goldens, case):
    done = subprocess.run(
        [sys.executable, ROOT / "tools/compare_engines.py", "--solver", "solver.prototxt",
         "--weights", "init.caffemodel", "--iterations", "20"],
        cwd=goldens / case, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SAME" in done.stdout
