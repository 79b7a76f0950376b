"""What the audit says of learning is what the run's files say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from siamplex.audit.audit import audit, differs
from siamplex.audit.finding import DIFFERS, INCONSISTENT, SAME, SILENT, UNCHECKED
from siamplex.cli import main
from siamplex.engine.training.learning_table import read_learning
from siamplex.engine.training.result import BY_LENGTH, BY_VALIDATION, Result
from siamplex.engine.training.stage_learning import StageLearning, active_units, against_blind
from siamplex.geometry.embedding import read_embedding, write_embedding


def look(run, stage=1):
    return {f.setting: f for f in audit(run) if f.group == f"learning of stage {stage}"}


def test_an_ordinary_run(own_run):
    for stage in (1, 2):
        found = look(own_run, stage)
        row = read_learning(own_run / f"stage{stage}/snap_learning.csv")[-1]
        assert row.iteration == 6 and set(row.active) == {"fc4", "fc5"}
        assert found["training loss at iteration 6"].run.startswith(f"{row.training.loss:.3g}, label-blind")
        assert found["validation loss at iteration 6"].run.startswith(f"{row.validation:.3g}, label-blind")
        assert found["active units at iteration 6"].run == active_units(row)
        assert found["last snapshot"].run == "iteration 6" and "ran to iteration 6" in found["last snapshot"].why
        assert found["snapshot of the figures"].run.startswith("iteration 6 (last")
        assert found["snapshot of the figures"].why == ""
        name = "stage2" if stage == 2 else "stage1_iter_6"
        ratio = json.loads((own_run / f"geometry/{name}.json").read_text())["train"]["singular_ratio"]
        assert f"training {ratio:.2f}" in found["how round the emotions lie"].run
        assert {f.verdict for f in found.values()} == {SILENT}


def test_the_lowest_validation_loss(own_run):
    path = own_run / "stage1/snap_test.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "4,0,loss,0.000123", *lines[2:]]) + "\n")
    found = look(own_run)["lowest validation loss"]
    assert found.run == "0.000123 at iteration 4, of which there is no snapshot"
    assert "EARLY_STOP=1" in found.why
    result = Result.read(own_run / "stage1/snap")
    replace(result, iteration=4).write(str(own_run / "stage1/snap"))
    assert look(own_run)["lowest validation loss"].why == ""  # it did


def test_nothing_learnt_is_said(own_run):
    path = own_run / "stage1/snap_learning.csv"
    header, *rows = path.read_text().splitlines()
    cells = rows[-1].split(",")
    cells[1:3] = ["0.134", "0.135"]
    path.write_text("\n".join([header, *rows[:-1], ",".join(cells)]) + "\n")
    said = look(own_run)["training loss at iteration 6"].run
    assert said == "0.134, label-blind 0.135: nothing learnt that labels tell"
    assert against_blind(0.05, 0.135) == "0.05, label-blind 0.135" and against_blind(0.05, None) == "0.05"


def test_emotions_on_a_line(own_run):
    path = own_run / "features/stage2.npz"
    embedding = read_embedding(path)
    embedding.points[:, 1] = 1e-3 * embedding.points[:, 0] + 1e-6 * np.arange(len(embedding))
    write_embedding(embedding, path.with_suffix(""))
    found = look(own_run, 2)["how round the emotions lie"]
    assert found.run.count("(a line)") == 3 and "no circular order" in found.why


def test_figures_of_another_file(own_run):
    path = own_run / "features/stage2.npz"
    embedding = read_embedding(path)
    embedding.facts["sha256"] = "0" * 64
    write_embedding(embedding, path.with_suffix(""))
    assert "another file than is there now" in look(own_run, 2)["snapshot of the figures"].why


def test_a_run_by_real_caffe_has_no_such_files(own_run):
    for name in ("learning.csv", "result.json"):
        (own_run / f"stage1/snap_{name}").unlink()
    found = look(own_run)
    assert found["training loss"].verdict == UNCHECKED and found["last snapshot"].run == "iteration 6"


def test_stage_2_starts_from_the_result_of_stage_1(own_run, capsys):
    """With early stopping that is not the last snapshot, and the audit knows."""
    key = ("weights of stage 2", "starts from")
    result = Result.read(own_run / "stage1/snap")
    stopped = Result(3, "snap_iter_3.caffemodel", 6, "validation", (3, 0.1), 1, result.origin)
    stopped.write(str(own_run / "stage1/snap"))
    other = {(f.group, f.setting): f for f in audit(own_run)}[key]
    assert other.verdict == DIFFERS  # it started from 6
    table = own_run / "pairs/images.caffemodel"
    for file in (own_run / "stage2").iterdir():
        file.unlink()
    command = f"train --solver run/solvers/stage2_indexed.prototxt --weights run/stage1/snap_iter_3.caffemodel,{table}"
    assert main([*command.replace(str(own_run.parent) + "/", "").split()]) == 0
    found = audit(own_run)
    assert {(f.group, f.setting): f for f in found}[key].verdict == SAME
    learnt = StageLearning.read(own_run / "stage1/snap")
    assert learnt.at_the_result.iteration == 3 and "stopped at iteration 6" in learnt.ended()
    assert differs(found)  # the reduced nets, as before


def test_a_length_that_validation_ended(own_run):
    """The paper states a length and that it stopped on the validation set: either is no deviation."""
    solver = own_run / "solvers/stage1_indexed.prototxt"
    solver.write_text(solver.read_text().replace("max_iter: 6", "max_iter: 5000"))
    key = ("solver of stage 1", "length")
    result = Result.read(own_run / "stage1/snap")
    for ended, verdict, words in ((BY_VALIDATION, INCONSISTENT, "ended at 6 by validation loss"),
                                  (BY_LENGTH, DIFFERS, "6")):  # fmt: skip
        replace(result, ended=ended).write(str(own_run / "stage1/snap"))
        found = {(f.group, f.setting): f for f in audit(own_run)}[key]
        assert found.verdict == verdict and words in found.run


def test_the_report_tells(own_run, capsys):
    assert main(["report", "run"]) == 0
    page = (own_run / "report/report.html").read_text()
    row = read_learning(own_run / "stage2/snap_learning.csv")[-1]
    assert "Did it learn?" in page and active_units(row) in page and f"{row.training.loss:.3g}, label-blind" in page
    assert "ran to iteration 6" in page and "At each of 6 tests" in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [[i for i, _ in stage["tests"]] for stage in data["losses"]] == [[0, 3, 6], [0, 3, 6]]


@pytest.mark.parametrize("stage", [1, 2])
def test_the_log_agrees_with_the_embedding(own_run, stage):
    """Training loss and ratio at the last snapshot, once by the solver and once from its extracted embedding."""
    name = "stage2" if stage == 2 else "stage1_iter_6"
    known = json.loads((own_run / f"geometry/{name}.json").read_text())["train"]
    row = read_learning(own_run / f"stage{stage}/snap_learning.csv")[-1]
    assert row.training.loss == pytest.approx(known["pair_loss"], rel=1e-4)
    assert row.training.label_blind == pytest.approx(known["label_blind_loss"], rel=1e-4)
    assert row.ratio == pytest.approx(known["singular_ratio"], rel=1e-2)
