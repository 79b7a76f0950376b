"""The torch engine follows every golden run of real BVLC Caffe."""

from __future__ import annotations

from pathlib import Path

import pytest

from siamplex.engine.training.solver import Solver, TrainOptions
from tests.engine.golden_runs import assert_goes_on_as, assert_losses_agree, assert_states_agree, assert_weights_agree

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
    final = tmp_path / f"snap_iter_{solver.iteration}.caffemodel"
    assert_weights_agree(final, case / "expected.caffemodel")
    half = f"snap_iter_{middle(case)}.caffemodel"
    assert_weights_agree(tmp_path / half, case / half)
    assert_states_agree(final.with_suffix(".solverstate"), case / "expected.solverstate")


@pytest.mark.parametrize("name", CASES)
def test_resumes_caffes_own_snapshot(goldens: Path, tmp_path: Path, name: str) -> None:
    """Momentum, iteration and rate come over."""
    case = goldens / name
    at = middle(case)
    solver = Solver(
        case / "solver.prototxt",
        TrainOptions(
            snapshot=case / f"snap_iter_{at}.solverstate",
            snapshot_prefix=str(tmp_path / "snap"),
            quiet=True,
        ),
    )
    assert_goes_on_as(solver, case, at)


@pytest.mark.parametrize("name", ["indexed_frozen", "stacked_frozen"])
def test_follows_caffe_with_units_left_alone(goldens: Path, tmp_path: Path, left_alone: list[int], name: str) -> None:
    test_follows_caffe(goldens, tmp_path, name, True)
    assert any(left_alone)
