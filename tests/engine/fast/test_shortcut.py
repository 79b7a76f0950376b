"""The shortcut through frozen layers gives the numbers of the full net."""

from __future__ import annotations

import numpy as np
import pytest

from siamplex.engine.fast import shortcut as shortcuts
from siamplex.engine.fast.prefix import find_prefix
from siamplex.engine.fast.twins import merge_twins
from siamplex.engine.training.loss_log import read_losses, read_tests
from siamplex.engine.training.occupied import REMOVE
from siamplex.engine.training.sgd import SGD
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.schema.weights import read_caffemodel, read_solverstate
from tests.engine.conftest import write_lmdb


def both(path, tmp_path):
    """Losses, weights and momentum with and without the shortcut."""
    results = []
    for on in (True, False):
        prefix = str(tmp_path / f"on_{on}")
        solver = Solver(path, TrainOptions(snapshot_prefix=prefix, shortcut=on, quiet=True))
        solver.solve()
        assert (solver.plan is not None) == on
        results.append(
            (
                [r[1] for r in read_losses(tmp_path / f"on_{on}_losses.csv")],
                read_caffemodel(f"{prefix}_iter_{solver.iteration}.caffemodel"),
                read_solverstate(f"{prefix}_iter_{solver.iteration}.solverstate").history,
                (tmp_path / f"on_{on}_test.csv").read_text() if solver.test_nets else "",
            )
        )
    return results


@pytest.mark.parametrize(
    "more",
    [
        "",
        "iter_size: 2",
        "test_interval: 4 test_iter: 2",
        "weight_decay: 0.3",  # replaces the solver's below
        "snapshot_after_train: false",
        "momentum: 0",
    ],
)
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("rectified", [False, True])
def test_same_numbers(twin_solver, tmp_path, left_alone, more, dropout, rectified):
    path = twin_solver(conv=0, dropout=dropout, rectified=rectified)
    # at 0.05 the run is about to diverge, and one last bit of a weight is 5e-6 of the loss twelve iterations later
    text = path.read_text().replace("base_lr: 0.05", "base_lr: 0.02")
    if "weight_decay" in more:
        text = text.replace("weight_decay: 0.01", "")
    if "momentum" in more:
        text = text.replace("momentum: 0.9", "")
    path.write_text(text + more)
    on, off = both(path, tmp_path)
    assert any(left_alone) == rectified
    np.testing.assert_allclose(on[0], off[0], rtol=1e-5, atol=1e-6)
    for name, arrays in off[1].items():
        for a, b in zip(on[1][name], arrays, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-7)
    for a, b in zip(on[2], off[2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(np.abs(b).max(), 1e-3))
    if on[3]:
        ours, theirs = ([float(r.split(",")[3]) for r in t.splitlines()[1:]] for t in (on[3], off[3]))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("more", ["clip_gradients: 0.5", 'regularization_type: "L1"'])
def test_updates_outside_the_span_keep_their_wide_weight(twin_solver, tmp_path, more):
    path = twin_solver(conv=0, more=more)
    on, off = both(path, tmp_path)
    np.testing.assert_allclose(on[0], off[0], rtol=1e-5, atol=1e-6)
    solver = Solver(path, TrainOptions(quiet=True))
    solver.take_plan()
    assert solver.plan and not solver.plan.grams


def test_fc_is_kept_in_its_gram_form(twin_solver):
    solver = Solver(twin_solver(conv=0), TrainOptions(quiet=True))
    solver.take_plan()
    assert solver.plan
    assert [g.parameter.label for g in solver.plan.grams.values()] == ["fc[0]"]
    assert len(solver.plan.tables) == 1  # the twins share it


def test_no_shortcut_where_convolutions_learn(twin_solver):
    solver = Solver(twin_solver(conv=1), TrainOptions(quiet=True))
    assert not find_prefix(solver.net).entries
    solver.take_plan()
    assert solver.plan is None


@pytest.mark.parametrize("dropout", [False, True])
def test_twins_run_as_one(twin_solver, tmp_path, dropout, pair_lmdb):
    """With the losses, weights and tests of two towers, and each twin's own dropout masks."""
    path = twin_solver(conv=1, dropout=dropout, more="test_interval: 4 test_iter: 2 iter_size: 2")
    results = []
    for on in (True, False):
        prefix = str(tmp_path / f"twins_{on}")
        solver = Solver(path, TrainOptions(snapshot_prefix=prefix, shortcut=on, quiet=True))
        solver.solve()
        assert bool(solver.net.stand_ins) == on
        tests = [float(r.split(",")[3]) for r in (tmp_path / f"twins_{on}_test.csv").read_text().splitlines()[1:]]
        losses = [r[1] for r in read_losses(tmp_path / f"twins_{on}_losses.csv")]
        results.append((losses, tests, read_caffemodel(f"{prefix}_iter_12.caffemodel")))
    on, off = results
    np.testing.assert_allclose(on[0], off[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(on[1], off[1], rtol=1e-5, atol=1e-6)
    for name, arrays in off[2].items():
        for a, b in zip(on[2][name], arrays, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max() + 1e-7)
    merged = Solver(path, TrainOptions(quiet=True))
    assert merge_twins(merged.net) == "conv to out"


def test_each_distinct_image_runs_once(twin_solver, tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (3, 6, 6), dtype=np.uint8)
    folder = tmp_path / "repeats"
    write_lmdb(folder, [(np.stack([image[i % 3], image[(i + 1) % 3]]), 1) for i in range(4)])
    path = twin_solver(conv=1)
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("pairs_lmdb", "repeats"))
    solver = Solver(path, TrainOptions(quiet=True))
    merge_twins(solver.net)
    seen = []
    conv = next(n for n in solver.net.nodes if n.name == "conv").layer
    run = type(conv).forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv, "forward", lambda b, p, c: seen.append(len(b[0])) or run(conv, b, p, c))
        solver.step()
    assert seen == [3]  # four pairs hold eight images, three of them distinct


def test_no_shortcut_past_random_crops(twin_solver, tmp_path):
    path = twin_solver(conv=0)
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("scale: 0.01", "scale: 0.01 mirror: true"))
    solver = Solver(path, TrainOptions(quiet=True))
    assert not find_prefix(solver.net).entries


def test_no_shortcut_while_frozen_layers_still_move(twin_solver, tmp_path):
    """A solverstate may hand momentum to layers whose rate is 0."""
    first = Solver(twin_solver(conv=1), TrainOptions(quiet=True))
    first.solve()
    path = twin_solver(conv=0)
    (tmp_path / "snap_iter_6.json").unlink()
    second = Solver(path, TrainOptions(snapshot=tmp_path / "snap_iter_6.solverstate", existing=REMOVE, quiet=True))
    second.take_plan()
    assert second.plan is None


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("iter_size", [1, 2])  # with 2, a gradient awaits its update at the overflow
def test_a_table_that_overflows_gives_way(twin_solver, tmp_path, monkeypatch, iter_size, wide):
    path = twin_solver(conv=0, more=f"iter_size: {iter_size}")
    if wide:
        monkeypatch.setattr(SGD.keep_factors, "__defaults__", (0,))
    full = Solver(path, TrainOptions(snapshot_prefix=str(tmp_path / "full"), shortcut=False, quiet=True))
    full.solve()
    monkeypatch.setattr(shortcuts, "_MAX_ROWS", 10)  # the first batch has 8 images, the second 8 more
    solver = Solver(path, TrainOptions(snapshot_prefix=str(tmp_path / "over"), quiet=True))
    solver.solve()
    assert solver.plan is None
    ours, theirs = ([r[1] for r in read_losses(tmp_path / f"{n}_losses.csv")] for n in ("over", "full"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_table_that_overflows_in_a_test_gives_way(twin_solver, tmp_path, monkeypatch):
    path = twin_solver(conv=0, more="test_interval: 4 test_iter: 2")
    Solver(path, TrainOptions(snapshot_prefix=str(tmp_path / "full"), shortcut=False, quiet=True)).solve()
    monkeypatch.setattr(shortcuts, "_MAX_ROWS", 10)  # the test's first batch has 8 images, its second 8 more
    solver = Solver(path, TrainOptions(snapshot_prefix=str(tmp_path / "over"), quiet=True))
    solver.solve()
    assert solver.plan is None
    for read, table, column in ((read_losses, "losses", 1), (read_tests, "test", 3)):
        ours, theirs = ([r[column] for r in read(tmp_path / f"{n}_{table}.csv")] for n in ("over", "full"))
        assert ours
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
