"""The pipeline on both engines, wherever a real caffe binary is given by CAFFE_BIN."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from siamplex.caffe_engine.binary import find_binary
from siamplex.cli import main
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.snapshot import own
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError
from siamplex.geometry.embedding import read_embedding
from siamplex.schema.weights import read_caffemodel
from tests.conftest import ROOT
from tests.engine.test_goldens import CASES as PAPER_CASES
from tests.engine.test_goldens_wild import CASES as WILD_CASES

pytestmark = pytest.mark.real_caffe
CASES = (*PAPER_CASES, *WILD_CASES)
SLASHED = ("accuracy_outputs",)  # layer names with a '/' in them, which HDF5 has no group for
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
        assert own(f"caffe/stage{stage}/snap") == own(f"torch/stage{stage}/snap") == [4, 8]
        tests = [(tmp_path / engine / f"stage{stage}/snap_test.csv").read_text() for engine in ("torch", "caffe")]
        values = [[float(line.split(",")[3]) for line in text.splitlines()[1:]] for text in tests]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
    a, b = (read_embedding(tmp_path / engine / "features/stage2.npz") for engine in ("torch", "caffe"))
    assert a.images == b.images
    np.testing.assert_allclose(a.points, b.points, atol=1e-4 * np.abs(a.points).max())


def copied(case: Path, folder: Path, extra: str = "") -> Path:
    """The solver of a golden case, with ``extra`` text, in a folder of its own without snapshots."""
    left_out = shutil.ignore_patterns("expected.*", "snap_iter_*")
    shutil.copytree(case, folder, ignore=left_out, copy_function=shutil.copyfile)
    solver = folder / "solver.prototxt"
    solver.write_text(solver.read_text() + extra)
    return solver


def test_each_goes_on_from_the_others_snapshot(real_caffe, goldens, tmp_path, monkeypatch):
    for first, second in (("torch", "caffe"), ("caffe", "torch")):
        folder = tmp_path / first
        solver = copied(goldens / "stacked_full", folder)
        whole = solver.read_text()
        monkeypatch.chdir(folder)
        solver.write_text(whole.replace("max_iter: 40", "max_iter: 20"))
        weights = ["--weights", "init.caffemodel"]
        assert main(["train", "--engine", first, "--solver", "solver.prototxt", *weights]) == 0
        solver.write_text(whole)
        state = ["--snapshot", "snap_iter_20.solverstate"]
        assert main(["train", "--engine", second, "--solver", "solver.prototxt", *state]) == 0
        rows = read_losses("snap_losses.csv")
        assert [r[0] for r in rows][-1] == 40 and np.isfinite([r[1] for r in rows]).all()


def resumed(binary: Path, solver: Path, state: Path) -> dict[str, list[np.ndarray]]:
    """The weights with which the binary ends that goes on from a snapshot."""
    done = subprocess.run([binary, "train", f"-solver={solver.name}", f"-snapshot={state}"], cwd=solver.parent,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    last = max(solver.parent.glob("snap_iter_*.caffemodel"), key=number)
    assert number(last) > number(state)
    return read_caffemodel(last)


def number(snapshot: Path) -> int:
    """Its iteration."""
    return int(snapshot.name.split(".")[0].rpartition("_")[2])


@pytest.mark.parametrize(("case", "written"), [*((case, "BINARYPROTO") for case in CASES),
                                               *((case, "HDF5") for case in CASES if case not in SLASHED)])  # fmt: skip
def test_the_binary_reads_the_snapshots_back(real_caffe, goldens, wild, tmp_path, case, written):
    """From ours of half way it goes on as from its own: every layer's arrays and every solver's history are taken."""
    golden = next(folder / case for folder in (goldens, wild) if (folder / case).is_dir())
    theirs = min(golden.glob("snap_iter_*.solverstate"))
    half = number(theirs)
    options = TrainOptions(
        weights=(golden / "init.caffemodel",), snapshot_prefix=str(tmp_path / "ours" / "snap"), quiet=True
    )
    solver = Solver(copied(golden, tmp_path / "ours", f"\nsnapshot_format: {written}\n"), options)
    solver.take_plan()
    while solver.iteration < half:
        solver.step()
    made = solver.snapshot().solverstate
    assert made.name == f"snap_iter_{half}.solverstate" + (".h5" if written == "HDF5" else "")
    found = resumed(real_caffe.path, copied(golden, tmp_path / "from_ours"), made)
    (tmp_path / "own").mkdir()
    for path in golden.glob(f"snap_iter_{half}.*"):
        shutil.copyfile(path, tmp_path / "own" / path.name)
    own = copied(golden, tmp_path / "from_own")
    for path in golden.glob(f"snap_iter_{half}.caffemodel"):  # which its state names without a folder
        shutil.copyfile(path, own.parent / path.name)
    wanted = resumed(real_caffe.path, own, tmp_path / "own" / theirs.name)
    if not all(np.isfinite(a).all() for arrays in wanted.values() for a in arrays):
        pytest.skip("the binary does not follow this run of Caffe 1.0 from its own snapshot either")
    assert found.keys() == wanted.keys() and found
    for name, arrays in wanted.items():
        for a, b in zip(found[name], arrays, strict=True):
            assert a.shape == b.shape and np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), name


def test_both_refuse_hdf5_for_names_with_slashes(real_caffe, wild, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for engine in ("torch", "caffe"):
        copied(wild / SLASHED[0], tmp_path / engine, "\nsnapshot_format: HDF5\n")
        monkeypatch.chdir(tmp_path / engine)
        assert main(["train", "--engine", engine, "--solver", "solver.prototxt", "--weights", "init.caffemodel"]) == 2
        said = capfd.readouterr().err
        assert ("has a '/' in its name" if engine == "torch" else "Error saving weights") in said


@pytest.mark.parametrize("case", ["stacked_full", "indexed_full", "margin_inv_policy", "legacy_loss_itersize"])
def test_compare_engines_says_same(real_caffe, goldens, case):
    done = subprocess.run(
        [sys.executable, ROOT / "tools/compare_engines.py", "--solver", "solver.prototxt",
         "--weights", "init.caffemodel", "--iterations", "20"],
        cwd=goldens / case, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SAME" in done.stdout
