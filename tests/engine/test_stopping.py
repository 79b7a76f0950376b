"""A run stopped at any iteration and resumed ends bit for bit where an unbroken one does."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from siamplex.engine import snapshot as snapshots
from siamplex.engine.solver import Solver, TrainOptions
from siamplex.errors import Stopped, TrainingError, UsageError
from siamplex.schema.weights import read_caffemodel, read_solverstate
from tests.engine.conftest import write_lmdb


@pytest.fixture
def many_pairs(tmp_path):
    """Forty pairs of thirty images: a table that goes on growing for ten iterations."""
    stream = np.random.default_rng(11)
    images = stream.integers(0, 256, (30, 1, 6, 6), dtype=np.uint8)
    pairs = [(np.concatenate(images[stream.integers(0, 30, 2)]), int(stream.integers(2))) for _ in range(40)]
    return write_lmdb(tmp_path / "many_lmdb", pairs)


def solver_of(twin_solver, many_pairs, tmp_path, prefix, more="", **options):
    path = twin_solver(prefix=prefix, dropout=True, more="average_loss: 3 " + more, **options)
    path.write_text(path.read_text().replace("base_lr: 0.05", "base_lr: 0.005"))
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("pairs_lmdb", many_pairs.name))
    return path


def stop_after(monkeypatch, iteration, number=signal.SIGTERM):
    """Send this process a signal in the given iteration."""
    step = Solver._step

    def stepping(self):
        if self.iteration == iteration:
            os.kill(os.getpid(), number)
        return step(self)

    monkeypatch.setattr(Solver, "_step", stepping)


def train(path, **options):
    solver = Solver(path, TrainOptions(quiet=True, **options))
    solver.solve()
    return solver


def same_end(folder, a, b):
    one, two = (read_caffemodel(folder / f"{p}_iter_12.caffemodel") for p in (a, b))
    states = [read_solverstate(folder / f"{p}_iter_12.solverstate") for p in (a, b)]
    return (
        all(np.array_equal(x, y) for k in one for x, y in zip(one[k], two[k], strict=True))
        and all(np.array_equal(x, y) for x, y in zip(states[0].history, states[1].history, strict=True))
        and (folder / f"{a}_losses.csv").read_text() == (folder / f"{b}_losses.csv").read_text()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("conv", [0, 1])
@pytest.mark.parametrize("at", [0, 2, 5, 7, 10])
def test_stopped_and_resumed_is_the_unbroken_run(
    twin_solver, many_pairs, tmp_path, monkeypatch, capsys, conv, at, number
):
    more = "test_interval: 4 test_iter: 2"
    train(solver_of(twin_solver, many_pairs, tmp_path, "whole", more, conv=conv))
    path = solver_of(twin_solver, many_pairs, tmp_path, "cut", more, conv=conv)
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        stop_after(patch, at, number)
        train(path)
    assert stopped.value.exit_code == 128 + number
    assert f"stopped by {number.name} at iteration {at + 1}" in str(stopped.value)
    assert snapshots.latest_whole(tmp_path / "cut") == snapshots.SnapshotPaths.of(tmp_path / "cut", at + 1)
    solver = train(path, resume=True)
    assert (solver.shortcut is not None) == (conv == 0)
    assert same_end(tmp_path, "whole", "cut")
    assert (tmp_path / "whole_test.csv").read_text() == (tmp_path / "cut_test.csv").read_text()
    assert not list(tmp_path.glob("cut_*.gram.npz"))  # of no use once a later snapshot is there


@pytest.mark.parametrize("conv", [0, 1])
def test_stopped_at_every_iteration(twin_solver, many_pairs, tmp_path, monkeypatch, conv):
    stop_everywhere(
        monkeypatch, tmp_path, lambda prefix: solver_of(twin_solver, many_pairs, tmp_path, prefix, conv=conv)
    )


def test_stopped_at_every_iteration_with_units_asleep(twin_solver, many_pairs, tmp_path, monkeypatch, left_alone):
    def path_of(prefix):
        # from the fourth batch on without new images, which would wake all units again
        path = solver_of(twin_solver, many_pairs, tmp_path, prefix, conv=0, rectified=True)
        net = tmp_path / "net.prototxt"
        net.write_text(net.read_text().replace("batch_size: 4", "batch_size: 12"))
        return path

    stop_everywhere(monkeypatch, tmp_path, path_of)
    assert any(left_alone)


def stop_everywhere(monkeypatch, tmp_path, path_of):
    train(path_of("whole"))
    path = path_of("cut")
    for at in range(11):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stop_after(patch, at)
            train(path, resume=True)
    train(path, resume=True)
    assert same_end(tmp_path, "whole", "cut")


def test_taken_up_from_a_snapshot_with_rows_in_another_order(twin_solver, many_pairs, tmp_path):
    """The pairs after the snapshot bring the images in another order than those before it did."""
    path = solver_of(twin_solver, many_pairs, tmp_path, "whole", conv=0)
    train(path)
    ends = [(tmp_path / "whole_iter_12.caffemodel").read_bytes()]
    solver = train(path, snapshot=tmp_path / "whole_iter_6.solverstate")
    assert solver.shortcut and len(solver.shortcut.growths) > 3
    ends.append((tmp_path / "whole_iter_12.caffemodel").read_bytes())
    assert ends[0] == ends[1]


def test_a_table_that_overflowed_stays_left(twin_solver, many_pairs, tmp_path, monkeypatch):
    from siamplex.engine import shortcut

    monkeypatch.setattr(shortcut, "_MAX_ROWS", 20)
    path = solver_of(twin_solver, many_pairs, tmp_path, "whole", conv=0)
    assert train(path).in_full
    before = (tmp_path / "whole_iter_12.caffemodel").read_bytes()
    assert train(path, snapshot=tmp_path / "whole_iter_6.solverstate").in_full
    assert (tmp_path / "whole_iter_12.caffemodel").read_bytes() == before


def test_without_its_gram_forms_a_stopped_run_still_resumes(twin_solver, many_pairs, tmp_path, monkeypatch, capsys):
    path = solver_of(twin_solver, many_pairs, tmp_path, "cut", conv=0)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 3)
        train(path)
    (tmp_path / "cut_iter_4.gram.npz").unlink()
    solver = Solver(path, TrainOptions(resume=True))
    solver.solve()
    assert "the last bits may differ" in capsys.readouterr().err
    assert solver.finished


def test_two_runs_in_one_folder_are_refused(twin_solver, tmp_path, monkeypatch):
    other = Solver(twin_solver(prefix="b"), TrainOptions(quiet=True))
    path = twin_solver(prefix="a")
    step = Solver._step

    def stepping(self):
        if self.iteration == 1 and self is not other:
            with pytest.raises(
                UsageError, match=rf"expected no other training in this folder, found process {os.getpid()}"
            ):
                other.solve()
        return step(self)

    monkeypatch.setattr(Solver, "_step", stepping)
    train(path)
    assert not (tmp_path / "b_losses.csv").exists()
    other.solve()  # free again


def test_exploding_loss_stops_with_the_last_good_snapshot(twin_solver, tmp_path):
    path = twin_solver()
    path.write_text(
        path.read_text().replace(
            'lr_policy: "step" gamma: 0.5 stepsize: 4', 'lr_policy: "multistep" gamma: 1e5 stepvalue: 7'
        )
    )
    with pytest.raises(
        TrainingError,
        match=r"exploded: .* at first, at iteration \d+ \(last good snapshot .*snap_iter_6.caffemodel; a smaller",
    ):
        train(path)
    assert snapshots.iterations(tmp_path / "snap") == [6]


def test_a_weight_that_is_not_finite_is_not_saved(twin_solver, tmp_path):
    solver = Solver(twin_solver(), TrainOptions(quiet=True))
    solver.snapshot()
    solver.net.node("fc").params[0].tensor.data[0, 0] = float("inf")
    solver.iteration = 1
    with pytest.raises(TrainingError, match=r"finite weights in fc\[0\], found others .*snap_iter_0.caffemodel"):
        solver.snapshot()
    assert snapshots.iterations(tmp_path / "snap") == [0]


def test_what_a_killed_run_left_half_written_goes(twin_solver, tmp_path):
    half = tmp_path / ".snap_iter_3.caffemodel.4194999.part"
    half.write_bytes(b"half")
    other = tmp_path / ".else_iter_3.caffemodel.4194999.part"
    other.write_bytes(b"another run's")
    train(twin_solver())
    assert not half.exists() and other.exists()
