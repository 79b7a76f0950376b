"""Comparing a run of the engine with a golden run of real BVLC Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver
from siamplex.schema.weights import read_caffemodel, read_solverstate


def near(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= max(1e-4 * abs(theirs), 1e-5)


def assert_losses_agree(ours: Path, theirs: Path, start: int = 0) -> None:
    """``ours`` has the iterations, losses and rates of ``theirs`` from ``start`` on."""
    mine = read_losses(ours)
    golden = [row for row in read_losses(theirs) if row[0] >= start]
    assert [row[0] for row in mine] == [row[0] for row in golden]
    for (iteration, loss, rate), (_, expected, expected_rate) in zip(mine, golden, strict=True):
        assert near(loss, expected), (iteration, loss, expected)
        # Caffe prints six significant digits
        assert (rate is None) == (expected_rate is None)
        if rate is not None and expected_rate is not None:
            assert f"{rate:.6g}" == f"{expected_rate:.6g}", iteration


def assert_weights_agree(ours: Path, theirs: Path) -> None:
    mine, golden = read_caffemodel(ours), read_caffemodel(theirs)
    # Caffe's files repeat each shared array in the twins (of the positive, of the negative); ours name the owner alone
    assert set(mine) == {name for name in golden if not name.endswith(("_p", "_n"))}
    for name, arrays in mine.items():
        for a, b in zip(arrays, golden[name], strict=True):
            assert a.shape == b.shape and np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), name


def assert_states_agree(ours: Path, theirs: Path) -> None:
    mine, golden = read_solverstate(ours), read_solverstate(theirs)
    assert (mine.iteration, mine.current_step) == (golden.iteration, golden.current_step)
    assert [h.shape for h in mine.history] == [h.shape for h in golden.history]
    for a, b in zip(mine.history, golden.history, strict=True):
        # the bias of fc6 gets what cancels between the twins: nothing but rounding
        assert np.abs(a - b).max() <= 2e-4 * max(np.abs(b).max(), 1e-4)


def assert_goes_on_as(solver: Solver, case: Path, start: int) -> None:
    """A solver resumed from a snapshot after ``start`` iterations ends as the golden run of ``case`` does.

    Like Caffe, a solver begins at the first record; the golden run went on where it was in its data, and so do we.
    """
    assert solver.iteration == start
    trained = [layer for key, layer in solver.data_layers() if key.startswith("train")]
    assert trained
    for layer in trained:
        layer.source.seek(start * int(solver._p.iter_size) * int(layer.params.batch_size))
    solver.solve()
    assert_losses_agree(Path(f"{solver.prefix}_losses.csv"), case / "losses.csv", start)
    last = Path(f"{solver.prefix}_iter_{solver.iteration}.caffemodel")
    assert_weights_agree(last, case / "expected.caffemodel")
