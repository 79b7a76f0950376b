"""The torch engine follows every golden run of real BVLC Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.schema.weights import read_caffemodel, read_solverstate

CASES = (
    "indexed_frozen",
    "indexed_full",
    "legacy_loss_itersize",
    "margin_inv_policy",
    "stacked_frozen",
    "stacked_full",
)


def middle(case: Path) -> int:
    return min(int(p.stem.rsplit("_", 1)[1]) for p in case.glob("snap_iter_*.solverstate"))


def assert_losses_agree(ours: Path, theirs: Path, start: int = 0) -> None:
    mine = read_losses(ours)
    golden = [row for row in read_losses(theirs) if row[0] >= start]
    assert [row[0] for row in mine] == [row[0] for row in golden]
    for (iteration, loss, rate), (_, expected, expected_rate) in zip(mine, golden, strict=True):
        assert abs(loss - expected) <= max(1e-4 * abs(expected), 1e-5), iteration
        # Caffe prints six significant digits
        assert (rate is None) == (expected_rate is None)
        if rate is not None and expected_rate is not None:
            assert f"{rate:.6g}" == f"{expected_rate:.6g}", iteration


def assert_weights_agree(ours: Path, theirs: Path) -> None:
    mine, golden = read_caffemodel(ours), read_caffemodel(theirs)
    # Caffe's files repeat each shared array in the twin; ours name the owner alone
    assert set(mine) == {name for name in golden if not name.endswith("_p")}
    for name, arrays in mine.items():
        for a, b in zip(arrays, golden[name], strict=True):
            assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), name


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_follows_caffe(goldens: Path, tmp_path: Path, name: str, shortcut: bool) -> None:
    case = goldens / name
    solver = Solver(
        case / "solver.prototxt",
        TrainOptions(
            weights=(case / "init.caffemodel",),
            snapshot_prefix=str(tmp_path / "snap"),
            shortcut=shortcut,
            quiet=True,
        ),
    )
    solver.solve()
    assert_losses_agree(tmp_path / "snap_losses.csv", case / "losses.csv")
    final = f"snap_iter_{solver.iteration}"
    assert_weights_agree(tmp_path / f"{final}.caffemodel", case / "expected.caffemodel")
    half = f"snap_iter_{middle(case)}.caffemodel"
    assert_weights_agree(tmp_path / half, case / half)
    ours = read_solverstate(tmp_path / f"{final}.solverstate")
    theirs = read_solverstate(case / "expected.solverstate")
    assert (ours.iteration, ours.current_step) == (theirs.iteration, theirs.current_step)
    assert [h.shape for h in ours.history] == [h.shape for h in theirs.history]
    for a, b in zip(ours.history, theirs.history, strict=True):
        # the bias of fc6 gets what cancels between the twins: nothing but rounding
        assert np.abs(a - b).max() <= 2e-4 * max(np.abs(b).max(), 1e-4)


@pytest.mark.parametrize("name", CASES)
def test_resumes_caffes_own_snapshot(goldens: Path, tmp_path: Path, name: str) -> None:
    """Momentum, iteration and rate come over; like Caffe, reading begins at the first record."""
    case = goldens / name
    at = middle(case)
    entries_read = None
    solver = Solver(
        case / "solver.prototxt",
        TrainOptions(
            snapshot=case / f"snap_iter_{at}.solverstate",
            snapshot_prefix=str(tmp_path / "snap"),
            quiet=True,
        ),
    )
    assert solver.iteration == at
    # the golden run went on where it was in its data; do the same to follow it
    per_iteration = int(solver._p.iter_size)
    for _, layer in solver.data_layers():
        entries_read = at * per_iteration * int(layer.params.batch_size)
        layer.source.seek(entries_read)
    assert entries_read
    solver.solve()
    assert_losses_agree(tmp_path / "snap_losses.csv", case / "losses.csv", start=at)
    assert_weights_agree(tmp_path / f"snap_iter_{solver.iteration}.caffemodel", case / "expected.caffemodel")


@pytest.mark.parametrize("name", ["indexed_frozen", "stacked_frozen"])
def test_follows_caffe_with_units_left_alone(goldens: Path, tmp_path: Path, left_alone: list[int], name: str) -> None:
    test_follows_caffe(goldens, tmp_path, name, True)
    assert any(left_alone)
