"""A run that must diverge is refused before its first step, and a trial leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.engine.training import trial_steps
from siamplex.engine.training.occupied import REMOVE
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.engine.training.trial_steps import Trial, rows_of_first_batch
from siamplex.errors import TrainingError
from siamplex.schema.weights import read_caffemodel, read_solverstate


def train(path, **options):
    solver = Solver(path, TrainOptions(quiet=True, **options))
    solver.solve()
    return solver


def at_full_scale(path, tmp_path):
    """Pixels of 0..255 in place of a hundredth."""
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("scale: 0.01", "scale: 1"))
    return path


@pytest.mark.parametrize("conv", [0, 1])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("more", ["", "iter_size: 2", "clip_gradients: 0.5", 'lr_policy: "multistep" stepvalue: 0'])
def test_a_trial_changes_nothing(twin_solver, tmp_path, conv, shortcut, more):
    ends = []
    for prefix, check in (("tried", True), ("plain", False)):
        path = twin_solver(conv=conv, dropout=True, rectified=True, prefix=prefix, more="test_interval: 4 test_iter: 2")
        text = path.read_text()
        if "lr_policy" in more:
            text = text.replace('lr_policy: "step" gamma: 0.5 stepsize: 4', "gamma: 0.5")
        path.write_text(text + more)
        train(path, check_start=check, shortcut=shortcut)
        state = read_solverstate(tmp_path / f"{prefix}_iter_12.solverstate")
        tables = [(tmp_path / f"{prefix}_{name}.csv").read_text() for name in ("losses", "test", "learning")]
        ends.append((read_caffemodel(tmp_path / f"{prefix}_iter_12.caffemodel"), state.history, *tables))
    (one, history, *tables), (two, other, *same) = ends
    assert tables == same
    assert all(np.array_equal(x, y) for name in one for x, y in zip(one[name], two[name], strict=True))
    assert all(np.array_equal(x, y) for x, y in zip(history, other, strict=True))


def test_a_trial_learns_what_the_run_would(twin_solver):
    """Its first losses are those of training on one batch, momentum and all."""
    path = twin_solver()
    solver = Solver(path, TrainOptions(quiet=True))
    trial = trial_steps.try_steps(solver, 0.05)
    losses = []
    for _ in range(trial_steps.STEPS + 1):
        losses.append(solver.pass_over())
        solver.sgd.update(0.05)
        for _, layer in solver.data_layers():
            layer.source.seek(0)
    assert trial is not None and trial.losses == tuple(losses)
    assert not trial.exploded and trial.losses[-1] < trial.losses[0]


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("conv", [0, 1])
def test_what_must_diverge_is_refused_with_the_remedy(twin_solver, tmp_path, conv, shortcut):
    path = at_full_scale(twin_solver(conv=conv), tmp_path)
    with pytest.raises(TrainingError) as refused:
        train(path, shortcut=shortcut)
    said = str(refused.value)
    assert said.startswith(str(path)) and "found base_lr 0.05" in said and "\n" not in said
    assert "rows into fc have the squared length" in said and "or below" in said
    assert not list(tmp_path.glob("snap_iter*"))
    # and at the rate it names the run does go through
    rate = said.split("base_lr ")[2].split(" or below")[0]
    path.write_text(path.read_text().replace("base_lr: 0.05", f"base_lr: {rate}"))
    assert train(path, shortcut=shortcut).finished


def test_the_run_would_have_diverged(twin_solver, tmp_path):
    path = at_full_scale(twin_solver(conv=0), tmp_path)
    with pytest.raises(TrainingError, match="the loss exploded"):
        train(path, check_start=False)


def test_the_squared_length_of_the_rows(twin_solver):
    solver = Solver(twin_solver(conv=0), TrainOptions(quiet=True, shortcut=False))
    name, length = rows_of_first_batch(solver)
    from siamplex.engine.net.layer import Context

    rows = solver.net.forward(Context(True), until="conv")[1]["conv"].flatten(1)
    assert name == "fc" and length == pytest.approx(float(rows.square().sum(1).mean()), rel=1e-5)


def test_a_resumed_run_is_not_tried(twin_solver, monkeypatch):
    path = twin_solver()
    train(path)
    path.write_text(path.read_text().replace("max_iter: 12", "max_iter: 14"))
    monkeypatch.setattr(trial_steps, "EXPLODED", -1.0)  # everything would be refused
    assert train(path, resume=True).iteration == 14
    with pytest.raises(TrainingError, match="--force-start"):
        train(path, existing=REMOVE)


def test_the_command(twin_solver, tmp_path, capsys):
    path = twin_solver()
    assert main(["train", "--solver", str(path), "--allow-outside"]) == 0
    assert "first batch: loss" in capsys.readouterr().err
    at_full_scale(path, tmp_path)
    command = ["train", "--solver", str(path), "--allow-outside", "--overwrite"]
    assert main(command) == 2
    assert "--force-start" in capsys.readouterr().err
    assert main([*command, "--force-start"]) == 2
    assert "the loss exploded" in capsys.readouterr().err


def test_what_counts_as_an_explosion():
    assert Trial(0.1, (0.1, 2e3)).exploded and Trial(0.1, (0.1, float("nan"))).exploded
    assert Trial(0.1, (150.0, 2e5)).exploded
    assert not Trial(0.1, (150.0, 1e5)).exploded and not Trial(0.1, (0.1, 0.2, 0.05)).exploded
