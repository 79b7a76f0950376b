"""Snapshots in HDF5: laid out as Caffe lays them out, and as good as binaryproto wherever a snapshot is read."""

from __future__ import annotations

import re
import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from siamplex.cli import main
from siamplex.engine.net.splits import insert_splits
from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.model_files import write_model
from siamplex.engine.training.occupied import REMOVE
from siamplex.engine.training.snapshot import Manifest, SnapshotPaths
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError, StorageError, UsageError
from siamplex.schema import messages, prototxt
from siamplex.schema.file_kinds import CAFFEMODEL, SOLVERSTATE, kind_of
from siamplex.schema.hdf5_weights import StoredLayer
from siamplex.schema.weights import (
    read_caffemodel,
    read_solverstate,
    write_caffemodel_hdf5,
    write_solverstate,
)
from tests.engine.conftest import make_net
from tests.engine.golden_runs import assert_goes_on_as

HDF5 = "snapshot_format: HDF5"


def train(path: Path, **options) -> Solver:
    solver = Solver(path, TrainOptions(quiet=True, **options))
    solver.solve()
    return solver


def arrays_of(path: Path) -> list[np.ndarray]:
    return [a for _, arrays in sorted(read_caffemodel(path).items()) for a in arrays if a.size]


def equal(one: Path, other: Path) -> bool:
    pairs = zip(arrays_of(one), arrays_of(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# --- what the files hold


def test_laid_out_as_caffe_lays_it_out(twin_solver, tmp_path):
    """Every layer of Caffe's net has a group, its splits too; an array stands in its owner's alone."""
    path = twin_solver(more=HDF5, net_more="layer { name: 'look' type: 'Softmax' bottom: 'out' top: 'look' }")
    train(path)
    with h5py.File(tmp_path / "snap_iter_12.caffemodel.h5") as file:
        assert set(file) == {"data"}
        owners = {name: sorted(group) for name, group in file["data"].items() if len(group)}
        assert owners == {"conv": ["0", "1"], "fc": ["0", "1"], "out": ["0", "1"]}
        empty = set(file["data"]) - set(owners)
        assert empty == {
            "pair", "slice", "relu", "conv_p", "relu_p", "fc_p", "out_p", "loss", "look", "out_out_0_split",
        }  # fmt: skip
        weight = file["data/conv/0"]
        assert weight.dtype == "<f4" and weight.shape == (3, 1, 3, 3) and weight.chunks is None
    with h5py.File(tmp_path / "snap_iter_12.solverstate.h5") as file:
        assert set(file) == {"iter", "learned_net", "current_step", "history"}
        for name, value in (("iter", 12), ("current_step", 2)):
            assert file[name].shape == (1,) and file[name].dtype == "<i4" and file[name][0] == value
        kind = file["learned_net"].id.get_type()
        learned = str(tmp_path / "snap_iter_12.caffemodel.h5")
        assert file["learned_net"].shape == () and kind.get_strpad() == h5py.h5t.STR_NULLTERM
        assert kind.get_size() == len(learned) + 1 and not kind.is_variable_str()
        assert file["learned_net"][()] == learned.encode()
        assert set(file["history"]) == {"0", "1", "2", "3", "4", "5"}
        assert file["history/0"].shape == (3, 1, 3, 3) and file["history/0"].dtype == "<f4"
    assert not list(tmp_path.glob("*.caffemodel")) and not list(tmp_path.glob("*.solverstate"))


def test_the_same_numbers_as_in_binaryproto(twin_solver, tmp_path):
    train(twin_solver(prefix="b"))
    train(twin_solver(more=HDF5, prefix="h"))
    for n in (6, 12):
        assert equal(tmp_path / f"h_iter_{n}.caffemodel.h5", tmp_path / f"b_iter_{n}.caffemodel")
        ours, theirs = (
            read_solverstate(tmp_path / name) for name in (f"h_iter_{n}.solverstate.h5", f"b_iter_{n}.solverstate")
        )
        assert (ours.iteration, ours.current_step) == (theirs.iteration, theirs.current_step)
        for a, b in zip(ours.history, theirs.history, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("kind", "conv"), [("SGD", 1), ("SGD", 0), ("Nesterov", 1), ("Adam", 1)])
@pytest.mark.parametrize("form", [HDF5, ""])
def test_diffs_are_the_last_update(twin_solver, tmp_path, kind, conv, form):
    """What the parameters moved by in the last iteration, shared ones in each of their layers."""
    more = f'{form} snapshot_diff: true type: "{kind}"'
    train(twin_solver(more=more, conv=conv), snapshot_at=frozenset({11}))  # without conv by the dual form
    ending = ".h5" if form else ""
    before, after = (read_caffemodel(tmp_path / f"snap_iter_{n}.caffemodel{ending}") for n in (11, 12))
    diffs: dict[str, list[np.ndarray]] = {}
    if form:
        with h5py.File(tmp_path / "snap_iter_12.caffemodel.h5") as file:
            assert set(file["diff"]) == set(file["data"])
            diffs = {name: [group[str(i)][()] for i in range(len(group))] for name, group in file["diff"].items()}
        np.testing.assert_array_equal(diffs["conv"][0], diffs["conv_p"][0])
    else:
        net = messages.NetParameter.FromString((tmp_path / "snap_iter_12.caffemodel").read_bytes())
        for layer in net.layer:
            diffs[layer.name] = [np.float32(blob.diff).reshape(tuple(blob.shape.dim)) for blob in layer.blobs]
            for blob, array in zip(layer.blobs, after[layer.name], strict=True):
                np.testing.assert_array_equal(np.float32(blob.data), array.reshape(-1))
    moved = 0.0
    for name in before:
        for a, b, diff in zip(before[name], after[name], diffs[name], strict=True):
            np.testing.assert_allclose(diff, a - b, atol=1e-6)
            moved = max(moved, float(np.abs(diff).max()))
    assert moved > 1e-4


def test_no_diffs_unasked(twin_solver, tmp_path):
    train(twin_solver())
    net = messages.NetParameter.FromString((tmp_path / "snap_iter_12.caffemodel").read_bytes())
    assert not any(blob.diff for layer in net.layer for blob in layer.blobs)


def test_splits_as_caffe_inserts_them():
    """Names and weights as in the log of the golden run accuracy_outputs, and of a loss that is read."""
    text = """layer { name: "d" type: "Input" top: "x" top: "y" }
layer { name: "r" type: "ReLU" bottom: "x" top: "x" }
layer { name: "a" type: "AbsVal" bottom: "x" top: "a" } layer { name: "b" type: "AbsVal" bottom: "x" top: "b" }
layer { name: "l" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "l" loss_weight: 2 }
layer { name: "p" type: "Power" bottom: "l" top: "p" } layer { name: "s" type: "Silence" bottom: "y" bottom: "p" }"""
    placed = insert_splits(list(prototxt.parse(text, "NetParameter").message.layer))
    assert [p.message.name for p in placed] == ["d", "r", "x_r_0_split", "a", "b", "l", "l_l_0_split", "p", "s"]
    by_name = {p.message.name: p.message for p in placed}
    assert list(by_name["x_r_0_split"].top) == ["x_r_0_split_0", "x_r_0_split_1"]
    assert [list(by_name[n].bottom) for n in "ab"] == [["x_r_0_split_0"], ["x_r_0_split_1"]]
    assert list(by_name["l_l_0_split"].loss_weight) == [2, 0] and not by_name["l"].loss_weight
    assert list(by_name["p"].bottom) == ["l_l_0_split_1"]


# --- taken up again


@pytest.mark.parametrize("conv", [0, 1])
@pytest.mark.parametrize("dropout", [False, True])
def test_resuming_changes_nothing(twin_solver, tmp_path, conv, dropout):
    train(twin_solver(conv=conv, dropout=dropout, prefix="whole", more=HDF5))
    path = twin_solver(conv=conv, dropout=dropout, prefix="cut", more=HDF5)
    first = Solver(path, TrainOptions(quiet=True))
    first.take_plan()
    while first.iteration < 6:
        first.step()
    first.snapshot()
    assert train(path, resume=True).iteration == 12
    models = [(tmp_path / f"{name}_iter_12.caffemodel.h5").read_bytes() for name in ("cut", "whole")]
    assert models[0] == models[1]
    states = [read_solverstate(tmp_path / f"{name}_iter_12.solverstate.h5").history for name in ("cut", "whole")]
    assert all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
    cut, whole = (dict(row[:2] for row in read_losses(tmp_path / f"{name}_losses.csv")) for name in ("cut", "whole"))
    assert list(cut) == [*range(6, 13)] and cut == {n: whole[n] for n in cut}


def test_from_one_format_to_the_other(twin_solver, tmp_path):
    """The format shapes no run: what one wrote the other goes on from, and each snapshot keeps its own."""
    train(twin_solver(prefix="whole"))
    path = twin_solver(prefix="snap")
    path.write_text(path.read_text().replace("max_iter: 12", "max_iter: 6"))
    train(path)
    train(twin_solver(prefix="snap", more=HDF5), resume=True)
    assert equal(tmp_path / "snap_iter_12.caffemodel.h5", tmp_path / "whole_iter_12.caffemodel")
    prefix = str(tmp_path / "snap")
    assert [SnapshotPaths.of(prefix, n).caffemodel.suffix for n in (6, 12)] == [".caffemodel", ".h5"]
    paths = snapshots.latest_whole(prefix)
    assert paths and paths == SnapshotPaths.of(prefix, 12)
    assert list(paths) == [SnapshotPaths.beside(file).caffemodel.with_name(file.name) for file in paths]
    (tmp_path / "snap_iter_12.caffemodel").write_bytes(b"old")  # left by another run: the manifest says which counts
    (tmp_path / "snap_iter_12.solverstate").write_bytes(b"old")
    assert snapshots.latest_whole(prefix) == paths
    assert SnapshotPaths.beside(tmp_path / "snap_iter_12.caffemodel").solverstate.name == "snap_iter_12.solverstate"


def test_old_states_go_and_prefixes_are_cleared(twin_solver, tmp_path):
    path = twin_solver(more=HDF5 + " snapshot: 0")
    path.write_text(path.read_text().replace("snapshot: 6", "").replace("snapshot: 0", "snapshot: 3"))
    train(path, keep_states=1)
    there = sorted(file.name for file in tmp_path.glob("snap_iter_*.solverstate.h5"))
    assert there == ["snap_iter_12.solverstate.h5"] and len(list(tmp_path.glob("*.caffemodel.h5"))) == 4
    with pytest.raises(UsageError, match=r"expected no snapshots of this run yet, found snap_iter_12.caffemodel.h5"):
        train(path)
    (tmp_path / "snap_iter_9.json").unlink()
    path.write_text(path.read_text().replace("base_lr: 0.05", "base_lr: 0.04"))
    with pytest.raises(UsageError, match=r"expected no snapshots of another run, found snap_iter_12.caffemodel.h5"):
        train(path)
    path.write_text(path.read_text().replace("snapshot: 3", "snapshot: 12"))
    train(path, existing=REMOVE)
    assert sorted(file.name for file in tmp_path.glob("snap_iter_*.h5")) == [
        "snap_iter_12.caffemodel.h5", "snap_iter_12.solverstate.h5",
    ]  # fmt: skip


def test_lean_snapshots_leave_the_table_out(goldens, tmp_path, monkeypatch):
    case = tmp_path / "case"
    shutil.copytree(goldens / "indexed_frozen", case)
    monkeypatch.chdir(case)
    text = (goldens / "indexed_frozen" / "solver.prototxt").read_text()
    (case / "ours.prototxt").write_text(f"{text}\n{HDF5}\n")
    options = {"weights": (Path("init.caffemodel"),), "snapshot_prefix": "ours"}
    last = train(Path("ours.prototxt"), lean=True, **options)
    early, end = (SnapshotPaths.of("ours", n) for n in snapshots.iterations("ours"))
    assert end.caffemodel.suffix == ".h5" and snapshots.is_lean(end.caffemodel)
    tables = [node.name for node in last.net.nodes if node.layer.spec.type == "Embed"]
    assert tables and not set(tables) & set(read_caffemodel(end.caffemodel))
    assert sum(not h.size for h in read_solverstate(end.solverstate).history) == 1  # of the one table
    whole = end.caffemodel.read_bytes()
    for file in end:
        file.unlink()
    train(Path("ours.prototxt"), snapshot=early.solverstate, snapshot_prefix="ours", lean=True)
    assert end.caffemodel.read_bytes() == whole


@pytest.mark.parametrize("name", ["solver_adam", "activations", "eltwise_scale_bn"])
def test_resumes_what_caffe_would_have_written(wild, tmp_path, name):
    """A golden run's snapshot, put in Caffe's HDF5 layout: no manifest, twins without arrays, more than ten states."""
    case = tmp_path / name
    shutil.copytree(wild / name, case)
    net = Solver(wild / name / "solver.prototxt", TrainOptions(quiet=True, weights=(case / "init.caffemodel",))).net
    net.load(read_caffemodel(case / "snap_iter_20.caffemodel"), "golden")
    write_model(case / "snap_iter_20.caffemodel.h5", net, hdf5=True)
    state = read_solverstate(case / "snap_iter_20.solverstate")
    write_solverstate(
        case / "snap_iter_20.solverstate.h5", 20, "snap_iter_20.caffemodel.h5", state.history, state.current_step, True
    )
    (case / "snap_iter_20.caffemodel").unlink()
    (case / "snap_iter_20.solverstate").unlink()
    options = TrainOptions(
        snapshot=case / "snap_iter_20.solverstate.h5", snapshot_prefix=str(tmp_path / "snap"), quiet=True, outside=True
    )
    solver = Solver(case / "solver.prototxt", options)
    assert_goes_on_as(solver, case, 20)


PARTLY = """input: "x" input_shape { dim: 2 dim: 3 }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } inner_product_param { num_output: 2 } }
layer { name: "b" type: "InnerProduct" bottom: "x" top: "b" param { name: "w" } inner_product_param { num_output: 2 } }
layer { name: "c" type: "InnerProduct" bottom: "x" top: "c" param { } param { name: "v" }
  inner_product_param { num_output: 2 } }
layer { name: "e" type: "InnerProduct" bottom: "x" top: "e" param { } param { name: "v" }
  inner_product_param { num_output: 2 } }"""


def test_arrays_that_are_borrowed_in_part(tmp_path):
    """b borrows its first array, e its second: the file has b's second and e's first, and that does."""
    net = make_net(PARTLY)
    for number, parameter in enumerate(net.parameters):
        parameter.tensor.fill_(number + 1)
    write_model(tmp_path / "m.caffemodel.h5", net, hdf5=True)
    with h5py.File(tmp_path / "m.caffemodel.h5") as file:
        assert {name: sorted(group) for name, group in file["data"].items() if len(group)} == {
            "a": ["0", "1"], "b": ["1"], "c": ["0", "1"], "e": ["0"],
        }  # fmt: skip
    other = make_net(PARTLY)
    assert other.load(read_caffemodel(tmp_path / "m.caffemodel.h5"), "m") == ["a", "b", "c", "e"]
    assert [float(p.tensor.reshape(-1)[0]) for p in other.parameters] == [1, 2, 3, 4, 5, 6]
    alone = make_net(PARTLY.replace('param { } param { name: "v" }', ""))
    with pytest.raises(InputError, match="m: expected 2 arrays for layer 'e', found 1"):
        alone.load(read_caffemodel(tmp_path / "m.caffemodel.h5"), "m")
    alone = make_net(PARTLY.replace('param { name: "w" }', ""))
    with pytest.raises(InputError, match=r"m: expected shape \(2, 3\) for b\[0\], found \(0,\)"):
        alone.load(read_caffemodel(tmp_path / "m.caffemodel.h5"), "m")


# --- wherever a snapshot is read


def test_the_drop_in_takes_and_says_them(twin_solver, tmp_path, monkeypatch, capsys):
    test = "test_iter: 2 test_interval: 6 test_compute_loss: true"
    path = twin_solver(more=f"{HDF5} {test}")
    path.write_text(re.sub(r'snapshot_prefix: "[^"]*"', 'snapshot_prefix: "snap"', path.read_text()))
    monkeypatch.chdir(tmp_path)
    assert main(["caffe", "train", "-solver=solver.prototxt"]) == 0
    said = capsys.readouterr().err
    assert "] Snapshotting to HDF5 file snap_iter_12.caffemodel.h5" in said
    assert "] Snapshotting solver state to HDF5 file snap_iter_12.solverstate.h5" in said
    whole = arrays_of(Path("snap_iter_12.caffemodel.h5"))
    assert main(["caffe", "train", "-solver=solver.prototxt", "-snapshot=snap_iter_6.solverstate.h5"]) == 0
    assert "Resuming from snap_iter_6.solverstate.h5" in capsys.readouterr().err
    assert all(map(np.array_equal, whole, arrays_of(Path("snap_iter_12.caffemodel.h5"))))
    command = ["caffe", "test", "-model=net.prototxt", "-iterations=2", "-weights=snap_iter_12.caffemodel.h5"]
    assert main(command) == 0
    loss = float(re.search(r"\] Loss: (\S+)", capsys.readouterr().err).group(1))
    assert loss == pytest.approx(float(re.findall(r"Test loss: (\S+)", said)[-1]), rel=1e-4)


def test_training_starts_from_one(twin_solver, tmp_path, capsys):
    train(twin_solver(more=HDF5, prefix="first"))
    start = tmp_path / "first_iter_12.caffemodel.h5"
    path = twin_solver(prefix="second")
    assert main(["train", "--solver", str(path), "--weights", str(start), "--allow-outside"]) == 0
    assert "weights from" in capsys.readouterr().err
    manifest = Manifest.read(tmp_path / "second_iter_12.json")
    assert manifest.weights[0]["path"] == str(start) and len(manifest.weights[0]["sha256"]) == 64
    assert read_losses(tmp_path / "second_losses.csv")[0][1] != read_losses(tmp_path / "first_losses.csv")[0][1]
    assert snapshots.iteration_of(start) == 12 and snapshots.iteration_of(tmp_path / "w_iter_7.caffemodel") == 7
    assert snapshots.iteration_of(tmp_path / "w.caffemodel.h5") == 0


# --- what is refused


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("layer { name: 'a/b' type: 'AbsVal' bottom: 'out' top: 'z' }", "it 'a/b' has a '/' in its name"),
        ("layer { name: 'fc' type: 'AbsVal' bottom: 'out' top: 'z' }", "it 'fc' is the name of two"),
        ("layer { name: '' type: 'AbsVal' bottom: 'out' top: 'z' }", "it has no name"),
        (
            "layer { name: 'z' type: 'AbsVal' bottom: 'out' top: 'a/b' } layer { name: 's' type: 'Silence' "
            "bottom: 'a/b' } layer { name: 't' type: 'Silence' bottom: 'a/b' }",
            "the split that Caffe puts behind it 'a/b_z_0_split' has a '/' in its name",
        ),
    ],
)
def test_names_that_no_group_can_have(twin_solver, layers, message):
    """Caffe would stop at its first snapshot; without one, or in binaryproto, it runs."""
    path = twin_solver(more=HDF5, net_more=layers)
    with pytest.raises(PrototxtError, match=rf"net.prototxt:\d+: layer '.*' .AbsVal.: .*{message} .BINARYPROTO takes"):
        Solver(path, TrainOptions(quiet=True))
    text = path.read_text()
    path.write_text(text.replace(HDF5, ""))
    Solver(path, TrainOptions(quiet=True))
    path.write_text(text.replace("snapshot: 6", "snapshot_after_train: false"))
    Solver(path, TrainOptions(quiet=True))


def test_one_for_the_other_is_told(twin_solver, tmp_path, capsys):
    path = twin_solver(more=HDF5)
    train(path)
    model, state = (tmp_path / f"snap_iter_12.{kind}.h5" for kind in ("caffemodel", "solverstate"))
    assert [kind_of(file).name for file in (model, state)] == [CAFFEMODEL, SOLVERSTATE]
    with pytest.raises(InputError, match=r"a caffemodel in HDF5; --weights starts .*, --snapshot .*12.solverstate.h5"):
        read_solverstate(model)
    with pytest.raises(InputError, match=r"a solverstate in HDF5; --snapshot goes .*, its weights are .*model.h5"):
        read_caffemodel(state)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(
        InputError, match=r"data.h5: expected a whole caffemodel, found an HDF5 file .'data', which is no"
    ):
        read_caffemodel(tmp_path / "data.h5")
    assert main(["train", "--solver", str(path), "--snapshot", str(model), "--allow-outside"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_damaged_files_are_refused_in_one_line(twin_solver, tmp_path):
    path = twin_solver(more=HDF5)
    train(path)
    stream = np.random.default_rng(1)
    said = set()
    for kind, read in (("caffemodel", read_caffemodel), ("solverstate", read_solverstate)):
        whole = (tmp_path / f"snap_iter_12.{kind}.h5").read_bytes()
        for number in range(150):
            data = bytearray(whole[: stream.integers(8, len(whole))] if number % 2 else whole)
            for at in stream.integers(0, min(len(data), 4096), 5 * (number % 3)):
                data[at] = stream.integers(256)
            (tmp_path / "x.h5").write_bytes(bytes(data))
            try:
                read(tmp_path / "x.h5")
            except InputError as error:
                assert "\n" not in str(error) and "x.h5: expected" in str(error)
                said.add(error.found)
    assert len(said) > 8
    half = tmp_path / "snap_iter_12.solverstate.h5"
    half.write_bytes(half.read_bytes()[:900])
    with pytest.raises(InputError, match="expected a whole solverstate"):
        Solver(path, TrainOptions(quiet=True, snapshot=half))
    assert train(path, resume=True).iteration == 12  # from the snapshot before


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    layers = [StoredLayer("fc", {0: np.ones(1 << 18, np.float32)})]
    write_caffemodel_hdf5(tmp_path / "old.caffemodel.h5", layers[:0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(StorageError, match=r"old.caffemodel.h5: expected to write it, found: File too large"):
            write_caffemodel_hdf5(tmp_path / "old.caffemodel.h5", layers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_caffemodel(tmp_path / "old.caffemodel.h5") == {}
    assert [file.name for file in tmp_path.iterdir()] == ["old.caffemodel.h5"]
