"""Training that ends on the validation set, and which snapshot is then the run's result."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.engine.training import loop
from siamplex.engine.training.early_stop import EarlyStop, lowest, validation_losses, validation_output
from siamplex.engine.training.result import BY_LENGTH, BY_VALIDATION, Result
from siamplex.engine.training.snapshot import SnapshotPaths, iterations
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError, Stopped
from siamplex.schema.weights import read_caffemodel
from tests.engine.training.test_stopping import stop_after

# of the tests at iterations 0, 2, 4, ...
COURSE = [0.5, 0.4, 0.3, 0.35, 0.2, 0.3, 0.25]


@pytest.fixture
def course(monkeypatch):
    """Lets validation take a given course; the net trains as it does."""

    def follow(values):
        def loss_of(found):
            assert "loss" in found
            return values[found["at"] // 2]

        test = Solver.test

        def testing(self, net, passes):
            found = test(self, net, passes)
            found["loss"] = values[self.iteration // 2]
            return found | {"at": self.iteration}

        monkeypatch.setattr(Solver, "test", testing)
        monkeypatch.setattr(loop, "loss_of", loss_of)

    return follow


def train(path, patience=2, **options):
    solver = Solver(path, TrainOptions(quiet=True, early_stop=patience, **options))
    solver.solve()
    return solver


@pytest.fixture
def path(twin_solver):
    return lambda prefix="snap", **options: twin_solver(
        prefix=prefix, dropout=True, more="test_interval: 2 test_iter: 2", **options
    )


@pytest.mark.parametrize("conv", [0, 1])
def test_ends_when_patience_is_over(path, tmp_path, course, conv):
    course([0.5, 0.4, 0.3, 0.35, 0.31, 0.1, 0.1])
    solver = train(path(conv=conv))
    assert solver.iteration == 8
    found = Result.read(tmp_path / "snap")
    assert (found.iteration, found.last, found.ended, found.patience) == (4, 8, BY_VALIDATION, 2)
    assert found.lowest == (4, 0.3)
    # the best, and 6, which is the solver's own: no other is kept
    assert iterations(tmp_path / "snap") == [4, 6]
    assert (tmp_path / found.caffemodel).exists()
    assert validation_losses(tmp_path / "snap_test.csv") == [(0, 0.5), (2, 0.4), (4, 0.3), (6, 0.35), (8, 0.31)]


def test_a_run_that_improves_to_the_end(path, tmp_path, course):
    course(sorted(COURSE, reverse=True))
    train(path())
    found = Result.read(tmp_path / "snap")
    assert (found.iteration, found.last, found.ended) == (12, 12, BY_LENGTH)
    assert iterations(tmp_path / "snap") == [6, 12]


def test_the_best_need_not_be_the_last(path, tmp_path, course):
    course(COURSE)
    train(path(), patience=9)
    found = Result.read(tmp_path / "snap")
    assert (found.iteration, found.last, found.ended) == (8, 12, BY_LENGTH)


def test_without_early_stopping_the_last_is_the_result(path, tmp_path, course):
    course(COURSE)
    train(path(), patience=0)
    found = Result.read(tmp_path / "snap")
    assert (found.iteration, found.last, found.patience, found.lowest) == (12, 12, 0, (8, 0.2))


@pytest.mark.parametrize("conv", [0, 1])
@pytest.mark.parametrize("at", range(8))
def test_stopped_and_resumed_is_the_unbroken_run(path, tmp_path, monkeypatch, course, conv, at):
    course([0.5, 0.4, 0.3, 0.2, 0.25, 0.35, 0.1])
    train(path("whole", conv=conv))
    cut = path("cut", conv=conv)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, at, signal.SIGTERM)
        train(cut)
    assert train(cut, resume=True).iteration == 10
    one, two = (Result.read(tmp_path / name) for name in ("whole", "cut"))
    assert (one.iteration, one.last, one.lowest) == (two.iteration, two.last, two.lowest) == (6, 10, (6, 0.2))
    for name in ("losses", "test", "learning"):
        assert (tmp_path / f"whole_{name}.csv").read_text() == (tmp_path / f"cut_{name}.csv").read_text()
    a, b = (read_caffemodel(tmp_path / f"{name}_iter_6.caffemodel") for name in ("whole", "cut"))
    assert all(np.array_equal(x, y) for k in a for x, y in zip(a[k], b[k], strict=True))


def test_going_on_from_the_snapshot_of_a_best_test(path, tmp_path, course, monkeypatch):
    """It was taken behind the test: the test is not run again, and the rest is as it would have been."""
    course([0.5, 0.4, 0.3, 0.2, 0.1, 0.2, 0.2])
    train(path("whole"), patience=9)
    cut = path("cut")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):

        def failing(self):
            if self.iteration == 9:
                raise RuntimeError("killed")
            return step(self)

        step = Solver.step
        patch.setattr(Solver, "step", failing)
        train(cut, patience=9)
    assert iterations(tmp_path / "cut") == [6, 8]
    assert json.loads(SnapshotPaths.of(tmp_path / "cut", 8).manifest.read_text())["tested"] is True
    train(cut, patience=9, resume=True)
    a, b = (read_caffemodel(tmp_path / f"{name}_iter_12.caffemodel") for name in ("whole", "cut"))
    assert all(np.array_equal(x, y) for k in a for x, y in zip(a[k], b[k], strict=True))
    for name in ("losses", "test", "learning"):
        assert (tmp_path / f"whole_{name}.csv").read_text() == (tmp_path / f"cut_{name}.csv").read_text()


def test_the_command_says_that_it_is_finished(path, tmp_path, course, capsys):
    course([0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3])
    command = ["train", "--solver", str(path()), "--allow-outside", "--resume", "--early-stop", "--patience", "2"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "stopped at iteration 4: validation loss not below 0.1, that of iteration 0, for 2 tests" in said
    before = sorted(p.stat().st_mtime_ns for p in tmp_path.glob("snap*"))
    assert main(command) == 0
    assert "stopped early at iteration 4: its result is iteration 0, with the lowest validation loss of 0.1" in (
        capsys.readouterr().err
    )
    assert sorted(p.stat().st_mtime_ns for p in tmp_path.glob("snap*")) == before
    # without early stopping the same run goes on
    assert main(command[:-3]) == 0
    assert Result.read(tmp_path / "snap").iteration == 12
    # and one trained to its end is not taken for one that was stopped
    assert main(command) == 0
    assert "trained without --early-stop" in capsys.readouterr().err


def test_what_early_stopping_needs(twin_solver, capsys):
    with pytest.raises(PrototxtError, match="early stopping needs a snapshot_prefix and a test net with a loss"):
        Solver(twin_solver(), TrainOptions(quiet=True, early_stop=1))
    with pytest.raises(SystemExit):
        main(["train", "--solver", str(twin_solver()), "--early-stop", "--patience", "0"])
    assert "expected a number of tests" in capsys.readouterr().err
    assert main(["train", "--solver", str(twin_solver()), "--early-stop", "--engine", "caffe"]) == 2
    assert "--early-stop: expected --engine torch" in capsys.readouterr().err


def test_counting():
    stop = EarlyStop(2).told([(0, 3.0), (1, 2.0), (2, 2.0)])
    assert stop.best == (1, 2.0) and stop.since == 1 and not stop.exhausted
    assert not stop.tested(3, 2.5) and stop.exhausted
    assert stop.tested(4, 1.0) and not stop.exhausted
    assert lowest([(3, 1.0), (1, 1.0), (2, 4.0)]) == (1, 1.0) and lowest([]) is None


def test_which_output_is_the_loss():
    assert validation_output(["accuracy", "loss", "(loss)"]) == "(loss)"
    assert validation_output(["accuracy", "pair_Loss"]) == "pair_Loss"
    assert validation_output(["accuracy"]) is None


def test_a_result_of_another_kind(tmp_path):
    (tmp_path / "snap_result.json").write_text('{"format": 1, "iteration": "x"}')
    with pytest.raises(InputError, match="the result of a training run"):
        Result.read(tmp_path / "snap")
    assert Result.read(tmp_path / "other") is None
