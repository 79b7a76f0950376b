"""The engine follows runs of real BVLC Caffe over its other layers and older net forms."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.schema.wire import fields
from tests.engine.golden_runs import (
    assert_goes_on_as,
    assert_losses_agree,
    assert_states_agree,
    assert_weights_agree,
    near,
)

CASES = (
    "solver_adadelta",
    "solver_adagrad",
    "solver_adam",
    "solver_l1_clip",
    "solver_nesterov",
    "solver_rmsprop",
    "accuracy_outputs",
    "activations",
    "deconv_crop",
    "eltwise_scale_bn",
    "euclidean_reduction",
    "lrn_within",
    "siamese_legacy",
    "sigmoid_ce",
    "v1_layers",
)


def structure(path: Path) -> dict[str, list[list[tuple[int, int, int, bytes]]]]:
    """Of each layer its blobs, as (field, wire type, length, bytes of a shape) in the order of the fields."""
    found: dict[str, list[list[tuple[int, int, int, bytes]]]] = {}
    buffer = memoryview(path.read_bytes())
    for layer in fields(buffer, 0, len(buffer)):
        if layer.number != 100:  # LayerParameter
            assert layer.number == 1  # the net's name, and nothing else
            continue
        inside = list(fields(buffer, layer.start, layer.end))
        (name,) = (bytes(buffer[f.start : f.end]).decode() for f in inside if f.number == 1)
        found[name] = [
            [
                (f.number, f.kind, f.end - f.start, bytes(buffer[f.start : f.end]) if f.number == 7 else b"")
                for f in sorted(fields(buffer, blob.start, blob.end), key=lambda f: f.number)
            ]
            for blob in inside
            if blob.number == 7  # BlobProto
        ]
    return found


@pytest.mark.parametrize("name", ["activations", "eltwise_scale_bn", "v1_layers", "deconv_crop"])
def test_snapshots_are_built_as_caffes(wild, tmp_path, name):
    """Real Caffe reads its own files back: ours have the same fields, lengths and shapes, layer by layer."""
    copytree(wild / name, tmp_path / "run")
    (tmp_path / "run").chmod(0o755)
    options = TrainOptions(
        weights=(wild / name / "init.caffemodel",), snapshot_prefix=str(tmp_path / "ours"), quiet=True, outside=True,
        snapshot_at=frozenset({1}),
    )  # fmt: skip
    solver = Solver(tmp_path / "run" / "solver.prototxt", options)
    solver.take_plan()
    solver.step()
    ours, theirs = structure(solver.snapshot().caffemodel), structure(wild / name / "expected.caffemodel")
    assert ours and {layer: theirs.get(layer) for layer in ours} == ours


def caffes_tests(case: Path) -> dict[int, list[tuple[str, float]]]:
    """Names and values of each test, in Caffe's order."""
    found: dict[int, list[tuple[str, float]]] = {}
    with (case / "tests.csv").open() as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["iteration"]), []).append((row["output_name"], float(row["value"])))
    return found


class Follower(Solver):
    """A solver that keeps what its tests give."""

    tested: dict[int, list[tuple[str, float]]]

    def test(self, net, passes):
        found = super().test(net, passes)
        self.tested = getattr(self, "tested", {})
        self.tested[self.iteration] = [(name.split("[")[0], v) for name, v in found.items() if name != "(loss)"]
        return found


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_follows_caffe(wild: Path, tmp_path: Path, name: str, shortcut: bool) -> None:
    case = wild / name
    options = TrainOptions(
        weights=(case / "init.caffemodel",), snapshot_prefix=str(tmp_path / "snap"), shortcut=shortcut, quiet=True
    )
    solver = Follower(case / "solver.prototxt", options)
    solver.solve()
    assert_losses_agree(tmp_path / "snap_losses.csv", case / "losses.csv")
    half = min(case.glob("snap_iter_*.caffemodel"))
    assert_weights_agree(tmp_path / half.name, case / half.name)
    final = tmp_path / f"snap_iter_{solver.iteration}.caffemodel"
    assert_weights_agree(final, case / "expected.caffemodel")
    assert_states_agree(final.with_suffix(".solverstate"), case / "expected.solverstate")
    if (case / "tests.csv").exists():
        expected_tests = caffes_tests(case)
        assert list(solver.tested) == list(expected_tests)
        for iteration, outputs in expected_tests.items():
            found = solver.tested[iteration]
            assert [o[0] for o in found] == [o[0] for o in outputs]
            for (output, value), (_, wanted) in zip(found, outputs, strict=True):
                assert near(value, wanted), (iteration, output, value, wanted)


def test_the_old_form_begins_as_caffe_does(wild: Path, tmp_path: Path) -> None:
    """The net of v1_layers under plain SGD: its first test and first loss do not depend on the solver's type."""
    case = wild / "v1_layers"
    text = (case / "solver.prototxt").read_text().replace("solver_type: NESTEROV", "")
    (tmp_path / "solver.prototxt").write_text(text.replace("max_iter: 40", "max_iter: 1"))
    for name in ("train.prototxt", "pairs_lmdb"):
        (tmp_path / name).symlink_to(case / name)
    options = TrainOptions(weights=(case / "init.caffemodel",), snapshot_prefix=str(tmp_path / "snap"), quiet=True)
    solver = Follower(tmp_path / "solver.prototxt", replace(options, outside=True))
    solver.solve()
    assert near(read_losses(tmp_path / "snap_losses.csv")[0][1], read_losses(case / "losses.csv")[0][1])
    for (name, value), (expected_name, expected) in zip(solver.tested[0], caffes_tests(case)[0], strict=True):
        assert name == expected_name and near(value, expected)


@pytest.mark.parametrize(
    "name", ["activations", "eltwise_scale_bn", "deconv_crop", "solver_adadelta", "solver_adam", "solver_nesterov"]
)
def test_resumes_caffes_own_snapshot(wild: Path, tmp_path: Path, name: str) -> None:
    """A shared slope without a shape, statistics and momentum come over; the data go on where the run was."""
    case = wild / name
    options = TrainOptions(
        snapshot=case / "snap_iter_20.solverstate", snapshot_prefix=str(tmp_path / "snap"), quiet=True
    )
    solver = Solver(case / "solver.prototxt", options)
    assert_goes_on_as(solver, case, 20)
