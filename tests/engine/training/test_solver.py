from __future__ import annotations

import json

import numpy as np
import pytest

from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.occupied import REMOVE
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError, TrainingError, UsageError
from siamplex.schema.weights import read_caffemodel, read_solverstate

QUIET = TrainOptions(quiet=True)


def train(path, **options):
    solver = Solver(path, TrainOptions(quiet=True, **options))
    solver.solve()
    return solver


def test_losses_fall_and_are_logged(twin_solver, tmp_path):
    train(twin_solver(more=""))
    rows = read_losses(tmp_path / "snap_losses.csv")
    assert [r[0] for r in rows] == list(range(13))
    assert rows[-1][2] is None
    assert rows[3][2] == pytest.approx(0.05) and rows[4][2] == pytest.approx(0.025)
    assert np.mean([r[1] for r in rows[-4:]]) < np.mean([r[1] for r in rows[:4]])


def test_same_seed_same_run(twin_solver, tmp_path):
    train(twin_solver(dropout=True, prefix="a"))
    train(twin_solver(dropout=True, prefix="b"))
    files = [(tmp_path / f"{p}_iter_12.caffemodel").read_bytes() for p in "ab"]
    assert files[0] == files[1]
    train(twin_solver(dropout=True, prefix="c"), seed=99)
    assert (tmp_path / "c_iter_12.caffemodel").read_bytes() != files[0]


@pytest.mark.parametrize("conv", [0, 1])
@pytest.mark.parametrize("dropout", [False, True])
def test_resuming_changes_nothing(twin_solver, tmp_path, conv, dropout):
    """Interrupted half way and resumed, weights and momentum end bit for bit the same."""
    train(twin_solver(conv=conv, dropout=dropout, prefix="whole"))
    path = twin_solver(conv=conv, dropout=dropout, prefix="cut")
    first = Solver(path, QUIET)
    first.take_plan()
    while first.iteration < 6:
        first.step()
    first.snapshot()
    second = train(path, resume=True)
    assert second.iteration == 12
    for kind in ("caffemodel", "solverstate"):
        ours = (tmp_path / f"cut_iter_12.{kind}").read_bytes()
        whole = (tmp_path / f"whole_iter_12.{kind}").read_bytes()
        assert ours.replace(b"/cut_", b"/whole_") == whole or _same_arrays(tmp_path, kind)


def _same_arrays(folder, kind):
    if kind == "caffemodel":
        a, b = (read_caffemodel(folder / f"{p}_iter_12.caffemodel") for p in ("cut", "whole"))
        return all(np.array_equal(x, y) for k in b for x, y in zip(a[k], b[k], strict=True))
    a, b = (read_solverstate(folder / f"{p}_iter_12.solverstate") for p in ("cut", "whole"))
    return a.current_step == b.current_step and all(
        np.array_equal(x, y) for x, y in zip(a.history, b.history, strict=True)
    )


def test_resume_takes_only_this_runs_snapshots(twin_solver, tmp_path):
    train(twin_solver())
    longer = twin_solver()
    longer.write_text(longer.read_text().replace("max_iter: 12", "max_iter: 20"))
    assert Solver(longer, TrainOptions(resume=True, quiet=True)).iteration == 12
    changed = twin_solver(more="clip_gradients: 5")
    with pytest.raises(UsageError, match=r"found snap_iter_12\.caffemodel \(clip_gradients -1 there, 5 here\)"):
        Solver(changed, TrainOptions(resume=True, quiet=True))
    with pytest.raises(UsageError, match=r"layer 'drop': dropout_param|layer 'drop': "):
        Solver(twin_solver(dropout=True), TrainOptions(resume=True, quiet=True))


def test_resume_passes_over_a_broken_snapshot(twin_solver, tmp_path):
    path = twin_solver()
    train(path)
    model = tmp_path / "snap_iter_12.caffemodel"
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    assert Solver(path, TrainOptions(resume=True, quiet=True)).iteration == 6
    with pytest.raises(InputError, match=r"expected the content snap_iter_12\.json says"):
        Solver(path, TrainOptions(snapshot=tmp_path / "snap_iter_12.solverstate", quiet=True))
    (tmp_path / "snap_iter_6.solverstate").unlink()
    assert Solver(path, TrainOptions(resume=True, quiet=True)).iteration == 0


def test_losses_of_a_resumed_run_follow_on(twin_solver, tmp_path):
    path = twin_solver()
    train(path)
    whole = (tmp_path / "snap_losses.csv").read_text()
    train(path, snapshot=tmp_path / "snap_iter_6.solverstate")
    assert (tmp_path / "snap_losses.csv").read_text() == whole


def test_snapshot_at_and_keep_states(twin_solver, tmp_path):
    train(twin_solver(), snapshot_at=frozenset({0, 5}), keep_states=2)
    prefix = tmp_path / "snap"
    assert snapshots.iterations(prefix) == [0, 5, 6, 12]
    kept = sorted(int(p.stem.rsplit("_", 1)[1]) for p in tmp_path.glob("*.solverstate"))
    assert kept == [6, 12]
    assert len(list(tmp_path.glob("*.caffemodel"))) == 4


def test_manifest_tells_where_the_run_stands(twin_solver, tmp_path):
    solver = train(twin_solver())
    manifest = json.loads((tmp_path / "snap_iter_6.json").read_text())
    assert manifest["iteration"] == 6 and manifest["seed"] == 3
    assert manifest["cursors"] == {"train:pair": 6 * 4 % 8}
    (segment,) = manifest["segments"]
    assert (segment["first"], segment["last"]) == (0, 6)
    settings = segment["settings"]
    assert settings["base_lr"] == "0.05" and settings["seed"] == "3" and "records of train:pair" in settings
    assert settings["layer 'fc': inner_product_param.num_output"] == "5"
    assert solver.finished


def test_test_net_runs_when_due(twin_solver, tmp_path):
    train(twin_solver(more="test_interval: 5 test_iter: 2"))
    rows = (tmp_path / "snap_test.csv").read_text().splitlines()
    assert rows[0] == "iteration,net,output,value"
    assert [r.split(",")[0] for r in rows[1:]] == ["0", "5", "10"]
    train(twin_solver(more="test_interval: 5 test_iter: 2 test_initialization: false"), existing=REMOVE)
    assert [r.split(",")[0] for r in (tmp_path / "snap_test.csv").read_text().splitlines()[1:]] == ["5", "10"]


def test_average_loss_is_a_running_mean(twin_solver, tmp_path):
    train(twin_solver(prefix="one"))
    single = [r[1] for r in read_losses(tmp_path / "one_losses.csv")]
    train(twin_solver(prefix="three", more="average_loss: 3"))
    mean = [r[1] for r in read_losses(tmp_path / "three_losses.csv")]
    for i in range(12):
        assert mean[i] == pytest.approx(np.mean(single[max(0, i - 2) : i + 1]), rel=1e-5)


def test_iter_size_adds_batches_up(twin_solver, tmp_path, pair_lmdb):
    """Two batches of 4 in one iteration step as one batch of 8 does."""
    path = twin_solver(prefix="two", more="iter_size: 2")
    train(path)
    path = twin_solver(prefix="one")
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("batch_size: 4", "batch_size: 8"))
    train(path)
    a, b = (read_caffemodel(tmp_path / f"{p}_iter_12.caffemodel") for p in ("two", "one"))
    for name in a:
        for x, y in zip(a[name], b[name], strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_nan_stops_with_iteration_and_snapshot(twin_solver, tmp_path):
    path = twin_solver()
    path.write_text(path.read_text().replace("base_lr: 0.05", "base_lr: 1e30"))
    with pytest.raises(TrainingError, match=r"the loss exploded: it is (nan|inf) at iteration \d+ \(no snapshot"):
        train(path, check_start=False)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('type: "sgd"', "solver type 'sgd' is not known"),
        ('type: "SGD" solver_type: NESTEROV', "give type or solver_type, not both"),
        ('type: "AdaGrad"', "momentum cannot be used with AdaGrad"),
        ("test_iter: 5", "test_iter needs a test_interval"),
        ("clip_gradient: 5", "field 'clip_gradient' of SolverParameter is not supported"),
        ('train_net: "x"', "exactly one of net"),
        ("average_loss: 0", "average_loss must be positive"),
        ('regularization_type: "L0"', "regularization_type 'L0' is neither L1 nor L2"),
        ('weights: ""', "weights: expected a caffemodel, found no name"),
        ("test_iter: 1 test_interval: -2", "test_iter needs a test_interval"),
    ],
)
def test_refuses_solver_fields(twin_solver, more, message):
    with pytest.raises(PrototxtError, match=message) as error:
        Solver(twin_solver(more=more), QUIET)
    assert error.value.line or "exactly one" in message


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("base_lr: 0.05", "base_lr is missing: Caffe would train at a rate of 0"),
        ("max_iter: 12", "max_iter is missing: Caffe would train no iteration"),
        ('lr_policy: "step"', "lr_policy is missing"),
    ],
)
def test_fields_that_must_be_given(twin_solver, field, message):
    path = twin_solver()
    path.write_text(path.read_text().replace(field, ""))
    with pytest.raises(PrototxtError, match=message):
        Solver(path, QUIET)


def test_a_negative_snapshot_interval_is_refused(twin_solver):
    path = twin_solver()
    path.write_text(path.read_text().replace("snapshot: 6", "snapshot: -6"))
    with pytest.raises(PrototxtError, match="snapshot -6 is negative: Caffe would write one every 6 iterations"):
        Solver(path, QUIET)


@pytest.mark.parametrize("more", ["display: -1", "display: 1 test_interval: -2"])
def test_takes_negative_intervals_as_caffe_does(twin_solver, tmp_path, more):
    path = twin_solver()
    path.write_text(path.read_text().replace("display: 1", more))
    train(path)
    assert [row[0] for row in read_losses(tmp_path / "snap_losses.csv")] == list(range(13))


def test_an_unknown_regularization_without_decay_has_no_effect(twin_solver, tmp_path):
    path = twin_solver(more='regularization_type: "L0"')
    path.write_text(path.read_text().replace("weight_decay: 0.01", "weight_decay: 0"))
    assert train(path).iteration == 12


STAGED = 'layer {{ name: "{0}" type: "Power" bottom: "out" top: "{0}" include {{ phase: {0} }} }}'


@pytest.mark.parametrize(("state", "phase"), [("", "TRAIN"), ("train_state { phase: TEST }", "TEST")])
def test_the_train_nets_phase_is_what_its_state_says(twin_solver, state, phase):
    """Caffe merges the solver's state over phase TRAIN, so a phase stated there, or in the net, holds."""
    path = twin_solver(more=state, net_more=STAGED.format("TRAIN") + STAGED.format("TEST"))
    solver = Solver(path, QUIET)
    assert solver.net.phase == phase
    assert [node.name for node in solver.net.nodes if node.name in ("TRAIN", "TEST")] == [phase]


def test_a_test_nets_phase_is_what_its_net_says(twin_solver, tmp_path):
    path = twin_solver(more="test_iter: 1 test_interval: 4")
    net = tmp_path / "net.prototxt"
    net.write_text("state { phase: TRAIN } " + net.read_text())
    assert [test.phase for test in Solver(path, QUIET).test_nets] == ["TRAIN"]


def test_a_net_without_layers_is_refused(twin_solver, tmp_path):
    path = twin_solver()
    (tmp_path / "net.prototxt").write_text('name: "bare"\nforce_backward: true')
    with pytest.raises(PrototxtError, match="the net has no layer in phase TRAIN"):
        Solver(path, QUIET)


@pytest.mark.parametrize(("snapshot", "there"), [("", True), ("snapshot: 5", False)])
def test_the_snapshot_after_training_of_no_iteration(twin_solver, tmp_path, snapshot, there):
    """Caffe writes it unless the interval divides the iteration, as it divides 0, although none was written there."""
    path = twin_solver()
    path.write_text(path.read_text().replace("max_iter: 12", "max_iter: 0").replace("snapshot: 6", snapshot))
    train(path)
    assert (tmp_path / "snap_iter_0.caffemodel").exists() == there


def test_refuses_options_that_do_not_go_together(twin_solver, tmp_path):
    path = twin_solver()
    train(path)
    state = tmp_path / "snap_iter_6.solverstate"
    with pytest.raises(UsageError, match="not both"):
        Solver(path, TrainOptions(snapshot=state, weights=(tmp_path / "snap_iter_6.caffemodel",), quiet=True))
    with pytest.raises(UsageError, match="expected cpu, cuda"):
        Solver(path, TrainOptions(device="abacus", quiet=True))
    with pytest.raises(InputError, match="expected a run of seed 8, found seed 3"):
        Solver(path, TrainOptions(snapshot=state, seed=8, quiet=True))


def test_weights_that_fit_nothing_are_refused(twin_solver, tmp_path):
    from siamplex.schema import messages
    from siamplex.schema.weights import write_caffemodel

    layer = messages.LayerParameter(name="elsewhere", type="InnerProduct")
    write_caffemodel(tmp_path / "w.caffemodel", "n", [(layer, [np.ones(3, np.float32)])])
    with pytest.raises(InputError, match="expected layers of net 'twins', found none"):
        Solver(twin_solver(), TrainOptions(weights=(tmp_path / "w.caffemodel",), quiet=True))


@pytest.mark.parametrize("conv", [0, 1])
def test_amp_is_near_but_not_the_same(twin_solver, tmp_path, conv):
    """bfloat16 keeps 8 bits: losses within a few per cent, on request alone."""
    train(twin_solver(prefix="single", conv=conv))
    train(twin_solver(prefix="half", conv=conv), amp=True)
    single, half = ([r[1] for r in read_losses(tmp_path / f"{n}_losses.csv")][:4] for n in ("single", "half"))
    assert single != half
    np.testing.assert_allclose(half, single, rtol=0.05)
