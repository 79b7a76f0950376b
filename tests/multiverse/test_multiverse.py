from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.errors import Stopped
from siamplex.geometry.embedding import read_embedding
from siamplex.multiverse import features, running, store, workers
from siamplex.multiverse.run_nets import read_run
from siamplex.multiverse.running import Multiverse, Request
from siamplex.multiverse.splits import folds
from siamplex.multiverse.training import train
from siamplex.pairs.build import PairOptions, build_pairs
from siamplex.pairs.split import write_split
from siamplex.run.record import read_record
from siamplex.schema.prototxt import to_text
from tests.multiverse.small_run import GRID, make_run

COMMAND = "multiverse run --grid grid.toml --workers 1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """A folder with a small run and its whole multiverse: run/ and grid.toml."""
    folder = tmp_path_factory.mktemp("multiverse")
    make_run(folder, faces)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(COMMAND.split()) == 0
    return folder


@pytest.fixture
def fresh(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same without any cell; the features are there."""
    shutil.copytree(whole, tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "run" / "multiverse" / "cells")
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


def by_control(folder: Path) -> dict[str, list[store.StoredCell]]:
    cells = store.read(folder / "run")
    return {control: [cell for cell in cells if cell.control == control] for control in store.CONTROLS}


def test_cells_are_those_of_the_sample(whole):
    cells = by_control(whole)
    # four trainings and two on shuffled labels, each read off at 2 x 2 places; two towers as initialised
    assert {control: len(found) for control, found in cells.items()} == {"": 16, "shuffled": 8, "untrained": 2}
    assert len({cell.about["training"] for cell in cells[""]}) == 4
    for cell in cells[""] + cells["shuffled"]:
        assert set(cell.settings) == set(json.loads(json.dumps(read_run(whole / "run")[0].own)))
        assert cell.learning.diverged == (cell.settings["scale"] == 1)
    record = read_record(whole / "run")[-1]
    assert record["command"] == "multiverse" and record["multiverse"]["cells"] == 26


def test_what_must_diverge_costs_nothing_and_says_why(whole):
    gone = [cell for cell in store.read(whole / "run") if cell.learning.diverged]
    assert gone
    assert any("first steps must diverge" in cell.about["why"] and cell.learning.seconds == 0 for cell in gone)
    for cell in gone:
        assert "diverge" in cell.about["why"] or cell.about["why"].startswith("solver.prototxt: the loss exploded")
        assert (
            cell.about["iteration"] < 20 and not cell.embedding_path.exists() and (cell.folder / "audit.json").exists()
        )


@pytest.mark.parametrize("pool3", [False, True])  # fc4 in its dual form, and not: fewer values than faces
def test_a_cell_is_what_siamplex_train_comes_to(whole, tmp_path, monkeypatch, pool3):
    nets, opened = read_run(whole / "run")
    # another scale than the run's own store has, which is told from its table
    multiverse = Multiverse(Request(whole / "run", whole / "grid.toml"))
    wanted = {"pool3": pool3, "scale": 1 / 256, "batch": 16}
    training = next(t for t in multiverse.grid.trainings() if dict(t.settings).items() >= wanted.items())
    settings = tuple(sorted({**dict(training.settings), "scale": 1 / 300}.items()))
    training = replace(training, settings=settings)
    source = multiverse._source
    prefix = features.Prefix.of(training.settings)
    features.prepare(tmp_path / "run", source, {prefix: {training.seed}})
    jobs = multiverse.jobs
    monkeypatch.setattr(jobs, "_run", tmp_path / "run")
    job = replace(jobs.job(training), scratch=None)
    assert (job.features is not None) == pool3
    jobs.store(train(job))
    cell = next(
        c for c in store.read(tmp_path / "run") if c.settings["stop"] == "length" and c.settings["iterations"] == 40
    )

    monkeypatch.chdir(tmp_path)
    split = folds(opened.index.subjects, 3, 1)[cell.fold]
    write_split(split, tmp_path / "split.csv")
    build_pairs(opened.index, tmp_path / "pairs", PairOptions(size=67, scale=1 / 300), tmp_path / "split.csv")
    shutil.copytree(tmp_path / "pairs" / "train_indexed_lmdb", tmp_path / "train_indexed_lmdb")
    for name in ("train_val.prototxt", "solver.prototxt"):
        shutil.copy(cell.folder / name, tmp_path)
    (tmp_path / "deploy.prototxt").write_text(to_text(nets.deploy(pool3).message))
    for words in (
        f"weights --deploy deploy.prototxt --out init.caffemodel --seed {cell.seed} --pairs pairs",
        "train --solver solver.prototxt --weights init.caffemodel,pairs/images.caffemodel",
        "extract --weights snap_iter_40.caffemodel --deploy deploy.prototxt --pairs pairs --out trained.npz",
        "extract --weights init.caffemodel --deploy deploy.prototxt --pairs pairs --out start.npz",
    ):
        assert main(words.split()) == 0
    trained, found = read_embedding(tmp_path / "trained.npz"), cell.embedding()
    np.testing.assert_allclose(found.points, trained.points, rtol=0, atol=1e-5 * np.abs(trained.points).max())
    assert (found.images, found.subjects, found.emotions, found.splits) == (
        trained.images, trained.subjects, trained.emotions, trained.splits,
    )  # fmt: skip
    start = read_embedding(tmp_path / "start.npz")
    assert np.abs(start.points - trained.points).max() > 0.01 * np.abs(trained.points).max()  # it was trained


def test_towers_as_initialised(whole):
    _, opened = read_run(whole / "run")
    (cell, other) = by_control(whole)["untrained"]
    assert set(cell.settings) == {"scale", "pool3"}
    for one in (cell, other):
        assert one.about["iteration"] == 0 and not one.learning.diverged
        assert np.isfinite(one.embedding().points).all() and len(one.embedding()) == len(opened.index)


def test_shuffled_cells_tell_both_names(whole):
    _, opened = read_run(whole / "run")
    shown = [entry.emotion for entry in opened.index.entries]
    cells = [cell for cell in by_control(whole)["shuffled"] if not cell.learning.diverged]
    assert cells
    shuffles = {cell.about["training"]: tuple(cell.embedding().emotions) for cell in cells}
    assert len(set(shuffles.values())) == len(shuffles)  # each training has its own
    for cell in cells:
        found = cell.embedding()
        assert tuple(found.emotions) == shuffles[cell.about["training"]]
        assert found.facts["shown"] == shown != found.emotions
        for subject in set(found.subjects):
            mine = [at for at, one in enumerate(found.subjects) if one == subject]
            assert sorted({found.emotions[at] for at in mine}) == sorted({shown[at] for at in mine})


def test_the_lowest_validation_loss_is_shown(whole):
    cells = [cell for cell in by_control(whole)[""] if not cell.learning.diverged]
    views = {(c.about["training"], c.settings["iterations"], c.settings["stop"]): c for c in cells}
    for (training, iterations, stop), cell in views.items():
        if stop == "length":
            assert cell.about["iteration"] == iterations
            best = views[(training, iterations, "validation")]
            assert best.about["iteration"] in range(0, iterations + 1, 20)
            assert best.learning.validation <= cell.learning.validation


def test_each_cell_has_its_record_and_audit(whole):
    for cell in by_control(whole)[""]:
        findings = {f["setting"]: f for f in json.loads((cell.folder / "audit.json").read_text())}
        assert findings["pairs a batch"]["run"] == str(cell.settings["batch"])
        assert findings["momentum"]["run"] == f"{cell.settings['momentum']:g}"
        assert findings["margin"]["verdict"] == "same" and findings["which subjects are held out"]["run"].endswith(
            str(cell.fold)
        )
        assert cell.about["note"].startswith("conv1-3 start from a substitute")


def everything(folder: Path) -> dict[str, bytes]:
    """Each cell's embedding, and its settings and losses but for the times."""
    found = {}
    for cell in store.read(folder / "run"):
        told = json.loads((cell.folder / "cell.json").read_text())
        told["learning"].pop("seconds")
        for name in ("seconds of the whole training", "processor seconds of the whole training"):
            told["about"].pop(name)
        points = b"" if cell.learning.diverged else cell.embedding().points.tobytes()
        found[cell.cell] = json.dumps(told).encode() + points
    return found


def test_an_interrupted_multiverse_goes_on(whole, fresh, monkeypatch, capsys):
    count = 0

    def stopping(job):
        nonlocal count
        count += 1
        if count == 5:
            raise Stopped(signal.SIGTERM, "stopped by SIGTERM")
        return train(job)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "train", stopping)
        patch.setattr(running.workers.run_here, "__defaults__", (stopping,))
        assert main(COMMAND.split()) == 128 + signal.SIGTERM
    some = everything(fresh)
    assert 0 < len(some) < 26
    assert f"{len(some)} cells are there; the same command goes on" in capsys.readouterr().err
    assert main(COMMAND.split()) == 0
    said = capsys.readouterr()
    assert f"{len(some)} cells there already" in said.err
    assert everything(fresh) == everything(whole)  # as if nothing had come between, bit for bit
    assert main(COMMAND.split()) == 0
    assert "0 trainings done, 26 cells in all" in capsys.readouterr().out


def test_what_it_takes_is_said_before(fresh, capsys):
    assert main([*COMMAND.split(), "--cells", "1"]) == 0
    said = capsys.readouterr().err
    assert "a grid of 96 trainings, each read off at 4 cells; 0 cells there already" in said
    assert "to do: 1 trainings, 0 on shuffled labels, 2 towers" in said
    assert "time: at most about " in said and "disk: at most " in said and "memory: " in said
    assert said.index("disk:") < said.index("multiverse: 3/3")


def test_hours(fresh, capsys):
    assert main([*COMMAND.split(), "--hours", "0.003"]) == 0
    said = capsys.readouterr()
    assert "trainings fit into 0.003 h" in said.err
    found = by_control(fresh)
    assert len(found["untrained"]) == 2 and 4 <= len(found[""]) < 96 * 4


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--cells 0", "--cells"), ("--hours 0", "--hours"), ("--hours nan", "--hours"), ("--workers 0", "--workers"),
        ("--cells 3 --full", "not several"), ("--scheduler tcp://127.0.0.1:1", "--scheduler"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(fresh, words, why, capsys):
    assert main([*COMMAND.split(), *words.split()]) == 2
    assert why in capsys.readouterr().err
    assert store.names(fresh / "run") == set()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("folds = 3", "folds = 6", 2), ("batch = [8, 16]", "batch = []", 7), ("momentum = [0.9, 0]", "lr = [1]", 8)],
)
def test_a_bad_grid_is_refused_before_anything_runs(fresh, old, new, line, capsys):
    Path("grid.toml").write_text(GRID.replace(old, new))
    shutil.rmtree("run/multiverse")
    assert main(COMMAND.split()) == 2
    assert f"grid.toml line {line}: expected " in capsys.readouterr().err
    assert not Path("run/multiverse").exists()


def test_cells_of_other_faces_or_nets_are_not_mixed(fresh, capsys):
    assert main([*COMMAND.split(), "--cells", "1"]) == 0
    prototxt = "prototxt --pairs run/pairs --run run --nets run/prototxt --solvers run/solvers --iterations 40"
    assert main(f"{prototxt} --width 0.2".split()) == 0
    before = everything(fresh)
    assert main(COMMAND.split()) == 2
    assert "width changed" in capsys.readouterr().err
    assert everything(fresh) == before
    assert main(f"{prototxt} --width 0.1 --batch-size 16 --snapshot 20".split()) == 0
    Path("grid.toml").write_text(GRID.replace("folds = 3", "folds = 4"))
    assert main(COMMAND.split()) == 2
    assert "folds changed" in capsys.readouterr().err


def test_nets_changed_by_hand_are_refused(fresh, capsys):
    path = Path("run/prototxt/train_val_stage1_indexed.prototxt")
    path.write_text(path.read_text().replace("dropout_ratio: 0.5", "dropout_ratio: 0.4", 1))
    assert main(COMMAND.split()) == 2
    assert "changed by hand" in capsys.readouterr().err


def test_widths_are_found_again():
    from siamplex.multiverse.run_nets import _width
    from siamplex.nets.architecture import Architecture

    full = (96, 256, 384, 1024, 256)
    for width in (1, 0.5, 0.1, 0.125, 0.25, 0.02, 0.33, 2, 0.7):
        units = [Architecture(width=width).units(n) for n in full]
        assert [Architecture(width=_width(units, full)).units(n) for n in full] == units
