"""The engine follows runs of real BVLC Caffe over its other layers and older net forms."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from siamplex.engine.loss_log import read_losses
from siamplex.engine.solver import Solver, TrainOptions
from siamplex.schema.weights import read_caffemodel

CASES = (
    "accuracy_outputs",
    "activations",
    "deconv_crop",
    "eltwise_scale_bn",
    "euclidean_reduction",
    "lrn_within",
    "siamese_legacy",
    "sigmoid_ce",
    "v1_layers",
)


@pytest.fixture(scope="session")
def wild(goldens: Path) -> Path:
    """Folder of the golden runs over other layers; skips where it is not there."""
    folder = goldens.parent / "goldens_wild"
    if not folder.is_dir():
        pytest.skip("no ../shared/goldens_wild beside this clone")
    return folder


def near(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= max(1e-4 * abs(theirs), 1e-5)


def assert_weights_agree(ours: Path, theirs: Path) -> None:
    mine, golden = read_caffemodel(ours), read_caffemodel(theirs)
    assert set(mine) <= set(golden)  # Caffe's files repeat each shared array in the twin; ours name the owner alone
    for name, arrays in mine.items():
        assert len(arrays) == len(golden[name])
        for a, b in zip(arrays, golden[name], strict=True):
            assert a.shape == b.shape and np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), name


def caffes_tests(case: Path) -> dict[int, list[tuple[str, float]]]:
    """Names and values of each test, in Caffe's order."""
    found: dict[int, list[tuple[str, float]]] = {}
    with (case / "tests.csv").open() as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["iteration"]), []).append((row["output_name"], float(row["value"])))
    return found


class Follower(Solver):
    """A solver that keeps what its tests give."""

    tested: dict[int, list[tuple[str, float]]]

    def test(self, net, passes):
        found = super().test(net, passes)
        self.tested = getattr(self, "tested", {})
        self.tested[self.iteration] = [(name.split("[")[0], v) for name, v in found.items() if name != "(loss)"]
        return found


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_follows_caffe(wild: Path, tmp_path: Path, name: str, shortcut: bool) -> None:
    case = wild / name
    options = TrainOptions(
        weights=(case / "init.caffemodel",), snapshot_prefix=str(tmp_path / "snap"), shortcut=shortcut, quiet=True
    )
    solver = Follower(case / "solver.prototxt", options)
    solver.solve()
    mine, golden = read_losses(tmp_path / "snap_losses.csv"), read_losses(case / "losses.csv")
    assert [row[0] for row in mine] == [row[0] for row in golden]
    for (iteration, loss, rate), (_, expected, expected_rate) in zip(mine, golden, strict=True):
        assert near(loss, expected), (iteration, loss, expected)
        assert (rate is None) == (expected_rate is None)
        if rate is not None and expected_rate is not None:
            assert f"{rate:.6g}" == f"{expected_rate:.6g}", iteration
    half = min(case.glob("snap_iter_*.caffemodel"))
    assert_weights_agree(tmp_path / half.name, case / half.name)
    assert_weights_agree(tmp_path / f"snap_iter_{solver.iteration}.caffemodel", case / "expected.caffemodel")
    if (case / "tests.csv").exists():
        expected_tests = caffes_tests(case)
        assert list(solver.tested) == list(expected_tests)
        for iteration, outputs in expected_tests.items():
            ours = solver.tested[iteration]
            assert [o[0] for o in ours] == [o[0] for o in outputs]
            for (output, value), (_, theirs) in zip(ours, outputs, strict=True):
                assert near(value, theirs), (iteration, output, value, theirs)
