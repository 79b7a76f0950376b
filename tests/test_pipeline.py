"""The whole pipeline by its commands, small: what a user does, and what a user does wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.corpus.images import read_picture
from siamplex.engine.training.loss_log import read_losses
from siamplex.geometry.embedding import read_embedding

NETS = ["--width", "0.125", "--iterations", "6", "--base-lr", "0.001", "--display", "1", "--snapshot", "3"]
NETS += ["--batch-size", "16"]


def run(*arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


@pytest.fixture(scope="module")
def work(tmp_path_factory, faces) -> Path:
    """A run made by the commands alone, both layouts, up to the figures."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("index", faces)
        for layout in ("indexed", "stacked"):
            run("pairs", "--layout", layout, "--size", 35, "--fractions", 0.6, 0.2, 0.2)
            run("prototxt", "--pairs", "run/pairs", *NETS)
            if layout == "indexed":
                shutil.copytree("run/pairs", "run/pairs_indexed")
        run("weights")
        for layout in ("stacked", "indexed"):
            weights = "run/weights/init.caffemodel"
            if layout == "indexed":
                weights += ",run/pairs_indexed/images.caffemodel"
            # the other layout is another run, though its losses are the same
            run("train", "--solver", f"solvers/stage1_{layout}.prototxt", "--weights", weights, "--overwrite")
            shutil.copytree("run/stage1", f"run/stage1_{layout}")
        weights = "run/stage1/snap_iter_6.caffemodel,run/pairs_indexed/images.caffemodel"
        run("train", "--solver", "solvers/stage2_indexed.prototxt", "--weights", weights)
        for name, file in (
            ("s0", "run/weights/init.caffemodel"),
            ("s3", "run/stage1/snap_iter_3.caffemodel"),
            ("s6", "run/stage1/snap_iter_6.caffemodel"),
            ("f", "run/stage2/snap_iter_6.caffemodel"),
        ):
            run("extract", "--weights", file, "--out", f"run/features/{name}.npz")
        run("geometry", "run/features/f.npz", "--out", "run/geometry/f.json")
        run(
            "figures", "--stage1", *(f"run/features/{n}.npz" for n in ("s0", "s3", "s6")),
            "--stage2", "run/features/f.npz",
            "--losses", "run/stage1/snap_losses.csv", "run/stage2/snap_losses.csv",
        )  # fmt: skip
    return folder


def test_both_layouts_give_the_same_losses(work):
    stacked, indexed = (
        [r[1] for r in read_losses(work / f"run/stage1_{n}/snap_losses.csv")] for n in ("stacked", "indexed")
    )
    assert len(stacked) == 7
    np.testing.assert_allclose(stacked, indexed, rtol=1e-6)


def test_frozen_convolutions_stay_and_learn_in_stage_2(work):
    from siamplex.schema.weights import read_caffemodel

    init, one, two = (
        read_caffemodel(work / "run" / f)
        for f in ("weights/init.caffemodel", "stage1/snap_iter_6.caffemodel", "stage2/snap_iter_6.caffemodel")
    )
    for name in ("conv1", "conv2", "conv3"):
        np.testing.assert_array_equal(init[name][0], one[name][0])
        assert not np.array_equal(one[name][0], two[name][0])
    for name in ("fc4", "fc5", "fc6"):
        assert not np.array_equal(init[name][0], one[name][0])


def test_every_output_says_what_was_synthetic(work):
    facts = read_embedding(work / "run/features/f.npz").facts
    assert facts["iteration"] == 6
    for text in (
        json.dumps(facts),
        (work / "run/geometry/f.txt").read_text(),
        (work / "run/figures/fig5.svg").read_text(),
    ):
        assert "synthetic" in text and "not" in text and "AlexNet" in text


def test_figures_are_all_there(work):
    names = {p.name for p in (work / "run/figures").iterdir()}
    stems = {"fig3a", "fig3b", "fig3", "fig4", "fig5", "fig6", "loss"}
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    for stem in stems:
        assert read_picture(work / f"run/figures/{stem}.png").std() > 5
    svg = (work / "run/figures/fig6.svg").read_text()
    for label in ("an", "fe", "di", "ha", "sa", "sp"):
        assert f">{label} " in svg.replace("\n", "")


def test_geometry_is_written(work):
    geometry = json.loads((work / "run/geometry/f.json").read_text())
    train = geometry["train"]  # a few iterations of a narrow net: a line or not
    assert len(train["line"]) == 6 if "line" in train else train["order"]["chance_one"] == "1/60"
    assert 0 <= geometry["test"]["nearest_centroid_accuracy"] <= 1


def test_stamps_skip_what_has_not_changed(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    command = ["geometry", "run/features/f.npz", "--out", "run/geometry/again.json", "--stamp", "run/.steps/g.json"]
    run(*command)
    capsys.readouterr()
    run(*command)
    assert "geometry: unchanged, nothing to do" in capsys.readouterr().err
    Path("run/geometry/again.json").unlink()
    run(*command)
    assert Path("run/geometry/again.json").exists()


def test_a_finished_run_is_not_trained_again(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    before = Path("run/stage2/snap_iter_6.caffemodel").stat().st_mtime_ns
    weights = "run/stage1/snap_iter_6.caffemodel,run/pairs_indexed/images.caffemodel"
    run("train", "--solver", "solvers/stage2_indexed.prototxt", "--weights", weights, "--resume")
    assert "already stands at its last iteration, 6" in capsys.readouterr().err
    assert Path("run/stage2/snap_iter_6.caffemodel").stat().st_mtime_ns == before


def test_lean_snapshots_resume_and_leave_the_table_out(work, monkeypatch, tmp_path):
    monkeypatch.chdir(work)
    solver = tmp_path / "solver.prototxt"
    text = Path("solvers/stage1_indexed.prototxt").read_text()
    solver.write_text(text.replace('"run/stage1/snap"', f'"{tmp_path}/snap"'))
    weights = "run/weights/init.caffemodel,run/pairs_indexed/images.caffemodel"
    run("train", "--solver", solver, "--weights", weights, "--lean-snapshots")
    from siamplex.schema.weights import read_caffemodel

    assert "images" not in read_caffemodel(tmp_path / "snap_iter_6.caffemodel")
    assert "images" in read_caffemodel("run/stage1/snap_iter_6.caffemodel")
    final = (tmp_path / "snap_iter_6.caffemodel").read_bytes()
    run("train", "--solver", solver, "--snapshot", tmp_path / "snap_iter_3.solverstate", "--lean-snapshots")
    assert (tmp_path / "snap_iter_6.caffemodel").read_bytes() == final


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "nowhere"], "nowhere: expected a folder of face images, found nothing there"),
        (["index", "nowhere.csv"], "nowhere.csv: expected a readable CSV, found nothing there"),
        (["pairs", "--index", "nowhere.csv"], "nowhere.csv: expected a readable CSV"),
        (["pairs", "--split", "nowhere.csv", "--out", "new"], "nowhere.csv: expected a readable split file"),
        (["pairs", "--fractions", "1", "1", "1", "--out", "new"], "--fractions: expected three shares"),
        (["pairs", "--size", "3", "--out", "new"], "--size: expected 8 to 4096 pixels, found 3"),
        (["train", "--solver", "nowhere.prototxt"], "nowhere.prototxt: expected a readable prototxt"),
        (
            ["train", "--solver", "solvers/stage1_indexed.prototxt", "--weights", "run/index.csv"],
            "run/index.csv: expected a whole caffemodel",
        ),
        (["extract", "--weights", "nowhere", "--out", "new.npz"], "nowhere: expected a readable caffemodel"),
        (["extract", "--weights", "nowhere", "--out", "new.txt"], "--out: expected a name ending in .npz"),
        (["extract", "--weights", "x", "--out", "new.npz", "--pairs", "run"], "expected a pair store"),
        (["geometry", "run/index.csv"], "run/index.csv: expected an embedding"),
        (["figures", "--out", "new"], "give embeddings"),
        (["figures", "--losses", "run/index.csv", "--out", "new"], "expected columns iteration, loss, lr"),
        (["weights", "--alexnet", "nowhere", "--out", "new"], "nowhere: expected AlexNet's weights"),
        (
            ["weights", "--deploy", "solvers/stage1_indexed.prototxt", "--out", "new", "--pairs", "run/pairs"],
            "expected a net prototxt, found a solver prototxt",
        ),
        (["prototxt", "--momentum", "2", "--nets", "new"], "--momentum: expected 0 up to 1, found 2"),
        (["faces", "run"], "run: expected an empty folder or an earlier synthetic corpus"),
        (["faces", "new", "--actors", "0"], "--actors: expected 1 to 99, found 0"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(work, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(work)
    before = sorted(p for p in work.rglob("*"))
    assert main(arguments) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and lines[0].startswith("siamplex: error: ") and message in lines[0]
    assert sorted(p for p in work.rglob("*")) == before


def test_an_empty_split_is_refused(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    Path("all_val.csv").write_text("subject,split\n" + "".join(f"{s},val\n" for s in read_subjects(work)))
    assert main(["pairs", "--split", "all_val.csv", "--out", "new"]) == 2
    assert "the train split is empty" in capsys.readouterr().err
    assert not Path("new").exists()


def read_subjects(work):
    from siamplex.corpus.index import read_index

    return read_index(work / "run/index.csv").subjects


def test_every_step_explains_itself(capsys):
    from siamplex.commands import ALL

    for command in ALL:
        with pytest.raises(SystemExit) as end:
            main([command.NAME, "--help"])
        assert end.value.code == 0
        assert command.HELP.split()[0] in capsys.readouterr().out
