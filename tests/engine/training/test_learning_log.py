"""What the log of learning says is what a plain pass over all images gives."""

from __future__ import annotations

from itertools import combinations

import lmdb
import numpy as np
import pytest
import torch

from siamplex.engine.net.net import Net
from siamplex.engine.training import towers as towers_
from siamplex.engine.training.learning_log import LearningLog
from siamplex.engine.training.learning_table import read_learning
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.engine.training.towers import find_towers, stored_images
from siamplex.errors import InputError
from siamplex.schema import prototxt
from siamplex.schema.weights import read_caffemodel
from tests.engine.conftest import write_lmdb

TEST = "test_interval: 3 test_iter: 2"


@pytest.fixture
def pairs(tmp_path, pair_lmdb):
    """All pairs of ten images of three classes, in place of the usual ones: (images, classes)."""
    stream = np.random.default_rng(4)
    images = stream.integers(0, 256, (10, 1, 6, 6), dtype=np.uint8)
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    couples = list(combinations(range(10), 2))
    stream.shuffle(couples)
    with lmdb.open(str(pair_lmdb)) as env, env.begin(write=True) as txn:
        txn.drop(env.open_db(txn=txn), delete=False)
    write_lmdb(pair_lmdb, [(np.concatenate(images[[i, j]]), int(classes[i] == classes[j])) for i, j in couples])
    return images, classes


def by_hand(tmp_path, prefix, iteration, images, classes):
    """Losses and active units of a snapshot, from its weights alone."""
    w = {name: [torch.from_numpy(np.array(x)) for x in arrays]
         for name, arrays in read_caffemodel(tmp_path / f"{prefix}_iter_{iteration}.caffemodel").items()}  # fmt: skip
    x = torch.from_numpy(images.astype(np.float32)) * 0.01
    x = torch.relu(torch.nn.functional.conv2d(x, w["conv"][0], w["conv"][1])).flatten(1)
    fc = torch.relu(x @ w["fc"][0].t() + w["fc"][1])
    points = (fc @ w["out"][0].t() + w["out"][1]).double()
    d = torch.cdist(points, points).numpy()
    i, j = np.triu_indices(len(images), 1)
    same = classes[i] == classes[j]
    each = np.where(same, d[i, j] ** 2, np.maximum(1 - d[i, j], 0) ** 2) / 2
    # label-blind: every pair of images in every place, by its share
    share = same.mean()
    blind = (share * d[i, j] ** 2 + (1 - share) * np.maximum(1 - d[i, j], 0) ** 2).mean() / 2
    means = np.array([points.numpy()[classes == c].mean(axis=0) for c in range(3)])
    values = np.linalg.svd(means - means.mean(axis=0), compute_uv=False)
    return each.mean(), blind, values[1] / values[0], int((fc > 0).any(dim=0).sum())


@pytest.mark.parametrize("conv", [0, 1])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("more", ["", TEST])
def test_a_row_is_what_the_snapshot_gives(twin_solver, tmp_path, pairs, conv, shortcut, more):
    path = twin_solver(conv=conv, dropout=True, rectified=True, more=more.replace("test_iter: 2", "test_iter: 12"))
    path.write_text(path.read_text().replace("snapshot: 6", "snapshot: 3").replace("base_lr: 0.05", "base_lr: 0.01"))
    Solver(path, TrainOptions(quiet=True, shortcut=shortcut)).solve()
    rows = {row.iteration: row for row in read_learning(tmp_path / "snap_learning.csv")}
    assert set(rows) >= {3, 6, 9, 12}
    for iteration in (6, 12):
        row = rows[iteration]
        loss, blind, ratio, active = by_hand(tmp_path, "snap", iteration, *pairs)
        assert row.training.loss == pytest.approx(loss, rel=1e-4)
        assert row.training.label_blind == pytest.approx(blind, rel=1e-4)
        assert row.ratio == pytest.approx(ratio, rel=1e-3, abs=1e-5)
        assert dict(row.active) == {"fc": (active, 5)}
        if more:  # 48 of the 45 pairs: the first ones twice
            assert row.validation_blind == pytest.approx(blind, rel=1e-4)
            assert row.validation == pytest.approx(loss, rel=0.2)
        else:
            assert row.validation is None and row.validation_blind is None
    assert "fc" in str(rows[12]) and "of 5 active" in str(rows[12])


def test_dead_units_are_counted(twin_solver, pairs):
    """Units whose bias lies far below zero give nothing for any image."""
    path = twin_solver(conv=0, dropout=True, rectified=True)
    solver = Solver(path, TrainOptions(quiet=True))
    solver.net.node("fc").params[1].tensor.data[:3] = -1e4
    log = LearningLog.of(solver.net, None)
    solver.take_plan()
    for _ in range(12):
        solver.pass_over(learning=False)
    row = log.look(0, solver.plan, None)
    direct = log.look(0, None, None)
    assert row.active["fc"] == direct.active["fc"] and row.active["fc"][0] <= 2
    assert row.training.loss == pytest.approx(direct.training.loss, rel=1e-5)


def test_behind_a_table_only_what_is_in_it_is_looked_at(twin_solver, pairs):
    solver = Solver(twin_solver(conv=0), TrainOptions(quiet=True))
    log = LearningLog.of(solver.net, None)
    solver.take_plan()
    assert log.look(0, solver.plan, None) is None
    solver.pass_over(learning=False)
    before = [len(table) for table in solver.plan.tables.values()]
    assert log.look(0, solver.plan, None) is not None
    assert [len(table) for table in solver.plan.tables.values()] == before


def test_other_nets_have_no_such_log(twin_solver, tmp_path):
    twin_solver()
    net = tmp_path / "net.prototxt"
    text = net.read_text()
    for old, new in (
        ('name: "relu_p" type: "ReLU"', 'name: "relu_p" type: "Dropout"'),  # twins that differ
        ("scale: 0.01", "scale: 0.01 mirror: true"),
        ('"ContrastiveLoss" bottom: "out" bottom: "out_p"', '"ContrastiveLoss" bottom: "fc" bottom: "fc_p"'),
    ):
        assert old in text
        changed = Net(prototxt.parse(text.replace(old, new), "NetParameter", str(net)), "TRAIN")
        found = find_towers(changed)
        assert (found is None) == ("fc_p" not in new)
    assert [node.name for node in found.first] == ["conv", "relu", "fc"]


def test_images_of_pairs_with_pixels(twin_solver, pairs, monkeypatch):
    images, classes = pairs
    towers = find_towers(Solver(twin_solver(), TrainOptions(quiet=True)).net)
    for all_pairs in (True, False):
        if not all_pairs:
            monkeypatch.setattr(towers_, "_PAIRS", 20)
        found = stored_images(towers)
        assert found.all_pairs == all_pairs and len(found.first) == (45 if all_pairs else 20)
        at = [next(i for i in range(10) if np.array_equal(images[i], s)) for s in found.samples]
        assert sorted(at) == list(range(10)) or not all_pairs
        for i, j, same in zip(found.first, found.second, found.same, strict=True):
            assert (classes[at[i]] == classes[at[j]]) == same
    assert towers.layer.source.position == 0


def test_indexed_pairs(small_run, tmp_path, capsys):
    """The same images, points and losses by indices, behind a table or not."""
    from siamplex.cli import main

    nets = f"--width 0.0625 --iterations 4 --snapshot 4 --test-interval 2 --nets {tmp_path}/p --solvers {tmp_path}/s"
    found = {}
    for layout in ("indexed", "stacked"):
        run = tmp_path / layout
        run.mkdir()
        (run / "pairs").symlink_to(small_run / layout)
        assert main(f"prototxt --pairs {run}/pairs --run {run} {nets}".split()) == 0
        deploy = f"{tmp_path}/p/deploy.prototxt"
        assert main(f"weights --deploy {deploy} --out {run}/init.caffemodel --pairs {run}/pairs".split()) == 0
        table = f",{run}/pairs/images.caffemodel" if layout == "indexed" else ""
        command = f"train --solver {tmp_path}/s/stage1_{layout}.prototxt --weights {run}/init.caffemodel{table}"
        assert main([*command.split(), "--allow-outside"]) == 0
        found[layout] = read_learning(run / "stage1/snap_learning.csv")[-1]
    one, two = found["indexed"], found["stacked"]
    assert one.iteration == two.iteration == 4
    assert one.training.loss == pytest.approx(two.training.loss, rel=1e-4)
    assert one.training.label_blind == pytest.approx(two.training.label_blind, rel=1e-4)
    assert dict(one.active) == dict(two.active) and set(one.active) == {"fc4", "fc5"}
    assert one.validation == pytest.approx(two.validation, rel=1e-3)
    assert "iteration 4: training loss" in capsys.readouterr().err


def test_a_log_that_is_none(tmp_path):
    path = tmp_path / "x_learning.csv"
    assert read_learning(path) == []
    path.write_text("iteration,training_loss,training_blind,validation_loss,validation_blind,ratio\n1,a,2,,,\n")
    with pytest.raises(InputError, match="line 2"):
        read_learning(path)


def test_the_look_changes_no_number(twin_solver, tmp_path, pairs, monkeypatch):
    seen = []
    for prefix in ("looked", "plain"):
        if prefix == "plain":
            monkeypatch.setattr(LearningLog, "of", classmethod(lambda cls, *args: None))
        Solver(twin_solver(conv=0, dropout=True, rectified=True, prefix=prefix, more=TEST),
               TrainOptions(quiet=True)).solve()  # fmt: skip
        seen.append(read_caffemodel(tmp_path / f"{prefix}_iter_12.caffemodel"))
    assert all(np.array_equal(x, y) for k in seen[0] for x, y in zip(seen[0][k], seen[1][k], strict=True))
    assert read_losses(tmp_path / "looked_losses.csv") == read_losses(tmp_path / "plain_losses.csv")
    assert not (tmp_path / "plain_learning.csv").exists()
