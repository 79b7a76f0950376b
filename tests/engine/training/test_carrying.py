"""Runs of nets with a layer that carries state: it passes once through each batch, whatever else is shortened.

Real Caffe 1.0 trained an LSTM and an RNN on sequences of an HDF5 file from the same weights, 40 iterations of
iter_size 1 and 3 with clipped gradients, momentum and decay, tested every 7: all losses and test outputs are the same
to 1e-5 (relative), the weights at iterations 20 and 40 to 5e-7, and a run resumed from Caffe's snapshot likewise.
"""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch

from siamplex.engine.fast import shortcut as shortcuts
from siamplex.engine.fast.prefix import find_prefix
from siamplex.engine.layers.lstm import LSTM
from siamplex.engine.training.loss_log import read_losses, read_tests
from siamplex.engine.training.process_group import check_divisible
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError
from siamplex.schema.weights import read_caffemodel
from tests.engine.conftest import make_net
from tests.engine.layers.test_recurrent import lstm, rnn

STEPS, STREAMS, SIZE, UNITS = 3, 2, 4, 3

SEQUENCES = """
layer {{ name: "d" type: "HDF5Data" top: "x" top: "cont" top: "y"
  hdf5_data_param {{ source: "{list}" batch_size: 3 }} }}
layer {{ name: "it" type: "{kind}" bottom: "x" bottom: "cont" top: "h" recurrent_param {{ num_output: 3
  weight_filler {{ type: "uniform" min: -1 max: 1 }} bias_filler {{ type: "uniform" min: -1 max: 1 }} }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" top: "loss" }}
"""

# an LSTM on random values before a net's own data, another behind the twins' fc; both add to the loss
BEFORE = """
layer { name: "noise" type: "DummyData" top: "noise" top: "goes_on" dummy_data_param {
  shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "first" type: "LSTM" bottom: "noise" bottom: "goes_on" top: "first"
  recurrent_param { num_output: 3 weight_filler { type: "uniform" min: -1 max: 1 } } }
layer { name: "weighed" type: "Reduction" bottom: "first" top: "weighed" loss_weight: 0.1 }
"""
BEHIND = """
layer { name: "steps" type: "Reshape" bottom: "fc" top: "steps" reshape_param { shape { dim: 0 dim: 1 dim: 5 } } }
layer { name: "all" type: "DummyData" top: "all" dummy_data_param { shape { dim: 4 dim: 1 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "second" type: "LSTM" bottom: "steps" bottom: "all" top: "second"
  recurrent_param { num_output: 2 weight_filler { type: "uniform" min: -1 max: 1 } } }
layer { name: "added" type: "Reduction" bottom: "second" top: "added" loss_weight: 0.1 }
"""


def train(path, **options):
    solver = Solver(path, TrainOptions(quiet=True, **options))
    solver.solve()
    return solver


def losses(prefix):
    return [row[1] for row in read_losses(f"{prefix}_losses.csv")]


@pytest.fixture
def sequences(tmp_path):
    """Writes a solver over ten batches of sequences in an HDF5 file; returns (solver, x, cont, y)."""
    stream = np.random.default_rng(3)
    x = stream.normal(size=(30, STREAMS, SIZE)).astype(np.float32)
    cont = (stream.random((30, STREAMS)) > 0.2).astype(np.float32)
    y = stream.normal(size=(30, STREAMS, UNITS)).astype(np.float32)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["x"], file["cont"], file["y"] = x, cont, y
    (tmp_path / "list.txt").write_text(f"{tmp_path / 's.h5'}\n")

    def write(kind="LSTM", prefix="snap", more=""):
        net = tmp_path / f"{prefix}.net.prototxt"
        net.write_text(SEQUENCES.format(list=tmp_path / "list.txt", kind=kind))
        solver = tmp_path / f"{prefix}.solver.prototxt"
        solver.write_text(
            f'net: "{net}" lr_policy: "fixed" max_iter: 10 display: 1 snapshot_prefix: "{tmp_path / prefix}" '
            f"random_seed: 3 {more}"
        )
        return solver

    return write, x, cont, y


@pytest.mark.parametrize(("kind", "formula", "parts"), [("LSTM", lstm, 2), ("RNN", rnn, 1)])
@pytest.mark.parametrize("iter_size", [1, 2])
def test_batches_are_pieces_of_one_sequence(sequences, tmp_path, kind, formula, parts, iter_size):
    """Where nothing learns, a run's losses are those of the whole file in one go, tests in between included."""
    write, x, cont, y = sequences
    passes = 10 // iter_size
    more = f"base_lr: 0 iter_size: {iter_size} test_interval: 2 test_iter: 1"
    path = write(kind, more=more)
    path.write_text(path.read_text().replace("max_iter: 10", f"max_iter: {passes}"))
    train(path)
    weights = [blob.astype(float) for blob in read_caffemodel(tmp_path / f"snap_iter_{passes}.caffemodel")["it"]]
    start = [np.zeros((STREAMS, UNITS))] * parts
    outputs, _ = formula(x.astype(float), cont, None, start, weights)
    squares = ((outputs - y) ** 2).reshape(passes, iter_size, STEPS, -1).sum(axis=(2, 3)) / (2 * STEPS)
    expected = squares.mean(axis=1)
    found = losses(tmp_path / "snap")[:passes]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    tested = [row[3] for row in read_tests(tmp_path / "snap_test.csv")]
    assert len(tested) > 2
    np.testing.assert_allclose(tested, squares.ravel()[: len(tested)], rtol=1e-5)


@pytest.mark.parametrize("stop", [3, 4])
@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_resumed_run_goes_on_with_the_state(sequences, tmp_path, kind, stop):
    write, *_ = sequences
    more = "base_lr: 0.1 momentum: 0.9 clip_gradients: 0.5 test_interval: 3 test_iter: 2"
    train(write(kind, "whole", more))
    path = write(kind, "cut", f"{more} snapshot: {stop}")
    train(path)
    for later in (stop * 2, stop * 3, 10):
        for file in tmp_path.glob(f"cut_iter_{later}.*"):
            file.unlink()
    solver = Solver(path, TrainOptions(quiet=True, resume=True))
    assert solver.iteration == stop
    solver.solve()
    ends = [read_caffemodel(tmp_path / f"{name}_iter_10.caffemodel")["it"] for name in ("whole", "cut")]
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
    for table in ("losses", "test"):
        assert (tmp_path / f"whole_{table}.csv").read_text() == (tmp_path / f"cut_{table}.csv").read_text()


@pytest.mark.parametrize(
    "held", [["AAAA"], ["AAAA", "AAAA"], ["not base64", "AAAAAA=="], [3, 4], ["AAAAAA==", "AAAAAAAAAAA="]]
)
def test_a_state_that_is_none_is_refused(sequences, tmp_path, held):
    write, *_ = sequences
    path = write(more="base_lr: 0.1 snapshot: 4")
    train(path)
    for later in (8, 10):
        for file in tmp_path.glob(f"snap_iter_{later}.*"):
            file.unlink()
    manifest = tmp_path / "snap_iter_4.json"
    content = json.loads(manifest.read_text())
    assert set(content["carried"]) == {"train:it"} and len(content["carried"]["train:it"]) == 2
    content["carried"]["train:it"] = held
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"snap_iter_4.json: expected what layer train:it carries .*, found [^\n]+$"):
        Solver(path, TrainOptions(quiet=True, resume=True))


def test_trial_steps_leave_the_state(sequences, tmp_path):
    write, *_ = sequences
    for prefix, check in (("tried", True), ("plain", False)):
        train(write("LSTM", prefix, "base_lr: 0.1 momentum: 0.9"), check_start=check)
    assert losses(tmp_path / "tried") == losses(tmp_path / "plain")


@pytest.mark.parametrize("conv", [0, 1])  # with a table and a dual form, and with merged towers
@pytest.mark.parametrize("overflows", [False, True])
@pytest.mark.parametrize("more", ["", "test_interval: 4 test_iter: 2"])
def test_shortcuts_run_it_once_in_each_pass(twin_solver, tmp_path, monkeypatch, conv, overflows, more):
    """The layer behind the twins' fc is none of the layers that a table or a merged tower replaces."""
    runs = []
    forward = LSTM.forward

    def counted(self, bottoms, params, context):
        runs.append(self.spec.name)
        return forward(self, bottoms, params, context)

    ends = {}
    for prefix, on in (("short", True), ("full", False)):
        path = twin_solver(conv=conv, prefix=prefix, more=more)
        net = tmp_path / "net.prototxt"
        net.write_text(BEFORE + net.read_text() + BEHIND)
        if overflows and on:
            monkeypatch.setattr(shortcuts, "_MAX_ROWS", 10)  # the first batch has 8 images, the second 8 more
        runs.clear()
        with monkeypatch.context() as patch:
            patch.setattr(LSTM, "forward", counted)
            solver = train(path, shortcut=on, check_start=False)
        assert (solver.plan is not None) == (on and not conv and not overflows)
        tested = [row[3] for row in read_tests(tmp_path / f"{prefix}_test.csv")] if more else []
        ends[prefix] = losses(tmp_path / prefix) + tested, runs.count("first"), runs.count("second")
    np.testing.assert_allclose(ends["short"][0], ends["full"][0], rtol=1e-5, atol=1e-6)
    # the table is full in the second pass, which is repeated, or in a test's second, after which both are
    (_, *short), (_, *full) = ends["short"], ends["full"]
    repeated = [int(overflows and not conv and count) for count in ((2, 1) if more else (1, 0))]
    assert short == [count + again for count, again in zip(full, repeated, strict=True)]


def test_it_is_no_part_of_a_frozen_prefix(pair_lmdb):
    """Not even where no weight of it learns, and everything before it is the data."""
    net = make_net(
        'layer { name: "d" type: "Data" top: "x" '
        f'data_param {{ source: "{pair_lmdb}" batch_size: 4 backend: LMDB }} }}\n'
        'layer { name: "c" type: "Convolution" bottom: "x" top: "y" param { lr_mult: 0 } param { lr_mult: 0 } '
        "convolution_param { num_output: 2 kernel_size: 3 } }\n"
        'layer { name: "all" type: "DummyData" top: "all" dummy_data_param { shape { dim: 4 dim: 2 } '
        'data_filler { type: "constant" value: 1 } } }\n'
        'layer { name: "it" type: "LSTM" bottom: "y" bottom: "all" top: "h" param { lr_mult: 0 } '
        "param { lr_mult: 0 } param { lr_mult: 0 } recurrent_param { num_output: 3 } }\n"
        'layer { name: "fc" type: "InnerProduct" bottom: "h" top: "fc" inner_product_param { num_output: 2 } }'
    )
    prefix = find_prefix(net)
    assert prefix.nodes == {"c"} and set(prefix.entries) == {("it", 0)}


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_several_processes_are_refused(sequences, tmp_path, kind):
    net = make_net(SEQUENCES.format(list=tmp_path / "list.txt", kind=kind))
    with pytest.raises(PrototxtError, match=rf"layer 'it' \({kind}\): cannot be trained by several processes"):
        check_divisible(net)


def test_no_gradient_outlives_its_batch(sequences, tmp_path):
    write, *_ = sequences
    solver = Solver(write(more="base_lr: 0.1"), TrainOptions(quiet=True))
    solver.advance(2)
    ((_, layer),) = solver.carrying_layers()
    assert all(torch.is_tensor(value) and not value.requires_grad for value in layer.carried)
