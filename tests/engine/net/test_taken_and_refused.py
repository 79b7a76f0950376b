"""What Caffe takes in nets and solvers is taken, what it refuses is refused, and refusals name what is wrong.

The list of cases met in public files; each is trained, or refused, as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import PrototxtError
from siamplex.schema import prototxt
from siamplex.schema.weights import read_caffemodel
from tests.engine.conftest import make_net, write_lmdb

Train = Callable[..., Solver]

DATA = """name: "n"
layer {{ name: "data" type: "Data" top: "data" top: "label" data_param {{ source: "{source}" batch_size: 4
  backend: LMDB }} transform_param {{ scale: 0.01 }} }}
"""
FC = """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }\n'


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Path]:
    """Writes a net and its solver; ``solver`` is what is added to net, base_lr, max_iter and random_seed."""
    stream = np.random.default_rng(1)
    samples = [(stream.integers(0, 256, (2, 5, 5), dtype=np.uint8), i % 3) for i in range(9)]
    source = write_lmdb(tmp_path / "l", samples)

    def write(net: str = FC + LOSS, solver: str = 'lr_policy: "fixed"') -> Path:
        (tmp_path / "net.prototxt").write_text(DATA.format(source=source) + net)
        path = tmp_path / "solver.prototxt"
        path.write_text(
            f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 max_iter: 6 display: 1 random_seed: 1\n'
            f'snapshot_prefix: "{tmp_path}/snap"\n{solver}\n'
        )
        return path

    return write


@pytest.fixture
def train(files, tmp_path) -> Train:
    """Trains a net as its solver says."""

    def run(*given: str, **named: str) -> Solver:
        solver = Solver(files(*given, **named), TrainOptions(quiet=True))
        solver.solve()
        assert np.isfinite([row[1] for row in losses(tmp_path)]).all()
        return solver

    return run


def losses(folder: Path) -> list[tuple[int, float, float | None]]:
    return read_losses(folder / "snap_losses.csv")


def moved(solver: Solver, layer: str, folder: Path) -> bool:
    """Whether a layer's weights are others than its filler made."""
    (node,) = (node for node in solver.net.nodes if node.name == layer)
    fresh = Solver(folder / "solver.prototxt", TrainOptions(quiet=True, snapshot_prefix=str(folder / "fresh"))).net
    (before,) = (other for other in fresh.nodes if other.name == layer)
    return not np.array_equal(node.params[0].tensor.detach().numpy(), before.params[0].tensor.detach().numpy())


# --- layers that are taken


def test_two_layers_of_one_name_and_an_empty_name(train, tmp_path):
    second = FC.replace('bottom: "data" top: "fc"', 'bottom: "fc" top: "fc2"')
    third = FC.replace('name: "fc"', 'name: ""').replace('bottom: "data" top: "fc"', 'bottom: "fc2" top: "fc3"')
    solver = train(FC + second + third + LOSS.replace('bottom: "fc"', 'bottom: "fc3"'))
    assert all(moved(solver, name, tmp_path) for name in ("fc", "fc#2", ""))
    assert list(read_caffemodel(tmp_path / "snap_iter_6.caffemodel")) == ["fc", "fc#2", ""]


def test_settings_of_other_layers(train, tmp_path):
    plain = [row[1] for row in losses(tmp_path)] if train() else []
    (tmp_path / "snap_run.json").unlink()
    for file in tmp_path.glob("snap_iter_*"):
        file.unlink()
    foreign = "lrn_param { local_size: 4 } pooling_param { pool: STOCHASTIC } dropout_param { dropout_ratio: 0.9 } "
    foreign += "python_param { module: 'm' layer: 'l' } hdf5_data_param { source: 'x' } norm_param { eps: 3 }"
    train(FC.replace("inner_product_param", foreign + " inner_product_param") + LOSS)
    assert [row[1] for row in losses(tmp_path)] == plain


@pytest.mark.parametrize("ratio", ["0", "0.0", "0.5"])
def test_a_dropout_ratio_of_0(files, tmp_path, ratio):
    drop = f'layer {{ name: "d" type: "Dropout" bottom: "fc" top: "fc" dropout_param {{ dropout_ratio: {ratio} }} }}\n'
    found = []
    for net in (FC + LOSS, FC + drop + LOSS):
        solver = Solver(files(net), TrainOptions(quiet=True, snapshot_prefix=str(tmp_path / f"s{len(found)}")))
        solver.solve()
        found.append([row[1] for row in read_losses(tmp_path / f"s{len(found)}_losses.csv")])
    assert (found[0] == found[1]) == (float(ratio) == 0)


def test_a_convolution_of_several_bottoms(train, tmp_path):
    net = """layer { name: "cut" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { slice_point: 1 } }
layer { name: "conv" type: "Convolution" bottom: "a" bottom: "b" top: "ca" top: "cb"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "ca" bottom: "cb" top: "sum" }
"""
    solver = train(net + FC.replace('"data"', '"sum"') + LOSS)
    assert moved(solver, "conv", tmp_path)


def test_second_tops(train, tmp_path):
    accuracy = 'layer { name: "a" type: "Accuracy" bottom: "fc" bottom: "label" top: "a" top: "by_class" }\n'
    solver = train(FC + LOSS.replace('top: "loss"', 'top: "loss" top: "p"') + accuracy)
    assert solver.net.outputs == ["a", "by_class", "loss", "p"]
    assert [solver.net.shapes[name] for name in solver.net.outputs] == [(), (3,), (), (4, 3)]


def test_permissive_sharing(train, tmp_path):
    """As many values in another shape; strictly they do not fit."""
    twin = (
        FC.replace('name: "fc"', 'name: "t"').replace('top: "fc"', 'top: "t"').replace("num_output", "WIDE num_output")
    )
    join = 'layer { name: "s" type: "Silence" bottom: "t" }\n'
    first = FC.replace("inner_product_param {", 'param { name: "w" } inner_product_param {')
    for mode, fits in (("share_mode: PERMISSIVE", True), ("", False)):
        shared = f'param {{ name: "w" {mode} }} param {{ }}'
        net = first + twin.replace("inner_product_param {", f"{shared} inner_product_param {{") + join + LOSS
        net = net.replace("WIDE", "transpose: true")
        if fits:
            solver = train(net)
            assert [n.views for n in solver.net.nodes if n.name == "t"] == [{0: (50, 3)}]
        else:
            with pytest.raises(PrototxtError, match=r"net.prototxt:\d+: layer 't' .*has shape \(3, 50\) in layer 'fc'"):
                train(net)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_a_pooling_window_larger_than_what_is_left(train, tmp_path, method):
    pool = f'layer {{ name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param {{ pool: {method} '
    solver = train(pool + "kernel_size: 7 stride: 3 } }\n" + FC.replace('"data"', '"p"') + LOSS)
    assert solver.net.shapes["p"] == (4, 2, 1, 1)


# --- settings of solvers that are taken


def rates(folder: Path) -> list[float]:
    return [rate for _, _, rate in losses(folder) if rate is not None]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('lr_policy: "step" stepsize: 2', [0.1, 0.1, 0, 0, 0, 0]),
        ('lr_policy: "poly"', [0.1] * 6),
        ('lr_policy: "inv" gamma: 0.5', [0.1] * 6),
        ('lr_policy: "inv"', [0.1] * 6),
        ('lr_policy: "exp"', [0.1, 0, 0, 0, 0, 0]),
        ('lr_policy: "multistep" stepvalue: 3', [0.1, 0.1, 0.1, 0, 0, 0]),
        ('lr_policy: "fixed" delta: 0.1 momentum2: 0.5 rms_decay: 0.7', [0.1] * 6),
        ('lr_policy: "fixed" gamma: 3 power: 2 stepsize: 1 stepvalue: 2', [0.1] * 6),
        ('lr_policy: "fixed" test_interval: 2', [0.1] * 6),
        ('lr_policy: "fixed" test_interval: 2 test_initialization: false', [0.1] * 6),
        ('lr_policy: "fixed" type: "SGD"', [0.1] * 6),
        ('lr_policy: "fixed" solver_type: SGD', [0.1] * 6),
    ],
)
def test_settings_that_say_less_or_more_than_needed(train, tmp_path, settings, expected):
    train(solver=settings)
    assert rates(tmp_path) == pytest.approx(expected)
    assert len(losses(tmp_path)) == 7


def test_delta_changes_nothing_with_sgd(train, files, tmp_path):
    train()
    plain = losses(tmp_path)
    path = files(solver='lr_policy: "fixed" delta: 0.5')
    Solver(path, TrainOptions(quiet=True, snapshot_prefix=str(tmp_path / "d"))).solve()
    assert read_losses(tmp_path / "d_losses.csv") == plain


def test_an_interval_without_tests_is_said(files, capsys):
    Solver(files(solver='lr_policy: "fixed"\ntest_interval: 2'), TrainOptions())
    assert "solver.prototxt:4: test_interval without test_iter: nothing is tested" in capsys.readouterr().err


def test_latin_1_comments_in_nets_and_solvers(files, tmp_path):
    path = files()
    for file in (path, tmp_path / "net.prototxt"):
        file.write_bytes("# Gewichte für Müller\n".encode("latin-1") + file.read_bytes())
    solver = Solver(path, TrainOptions(quiet=True))
    solver.solve()
    assert solver.iteration == 6


# --- what is refused, with the line


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            FC.replace("  inner_product", "  include { phase: TRAIN } exclude { stage: 'x' }\n inner_product") + LOSS,
            r"net.prototxt:5: layer 'fc' \(InnerProduct\): give include rules or exclude rules, not both",
        ),
        (
            'layer { name: "p" type: "Pooling" bottom: "data" top: "fc"\n pooling_param { global_pooling: true\n'
            "stride: 2 } }\n" + LOSS,
            r"net.prototxt:6: layer 'p' \(Pooling\): global_pooling goes with stride 1",
        ),
        (
            'layer { name: "p" type: "Pooling" bottom: "data" top: "fc"\n pooling_param { global_pooling: true\n'
            "stride_h: 2 stride_w: 1 } }\n" + LOSS,
            r"net.prototxt:\d: layer 'p' \(Pooling\): global_pooling goes with stride 1",
        ),
    ],
)
def test_refuses_nets(files, net, message):
    with pytest.raises(PrototxtError, match=message):
        Solver(files(net), TrainOptions(quiet=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('type: "SGD"\nsolver_type: ADAM', ":4: give type or solver_type, not both"),
        ('type: "sgd"', ":3: solver type 'sgd' is not known; 'SGD' is .known: SGD, Nesterov, AdaGrad"),
        ('type: "ADAM"', ":3: .*type 'ADAM'"),
        ('type: "AMSGrad"', r":3: solver type 'AMSGrad' is not known \(known: SGD, Nesterov, AdaGrad, RMSProp, "),
        ('amsgrad: 1\ntype: "AMSGrad"', r":4: solver type 'AMSGrad' is not known"),
        ("solver_type: AMSGRAD", r":3: solver type 'AMSGRAD' is not known"),
        ("beta: 0.9\nsolver_type: AMSGRAD", r":4: solver type 'AMSGRAD' is not known"),
        ('beta: 0.9\ntype: "Adam"', r":3: field 'beta' of SolverParameter is not supported"),
        ("solver_mode: TPU\n", ":3: SolverMode has no value TPU"),
    ],
)
def test_refuses_solvers(files, settings, message):
    with pytest.raises(PrototxtError, match=f"solver.prototxt{message}"):
        Solver(files(solver=f'{settings}\nlr_policy: "fixed"'), TrainOptions(quiet=True))


def test_refuses_a_snapshot_interval_without_a_prefix(files, tmp_path, capsys):
    path = files(solver='lr_policy: "fixed"\nsnapshot: 2')
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "prefix" not in line))
    assert main(["train", "--solver", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "solver.prototxt:3: snapshot 2 without a snapshot_prefix" in said
    path.write_text(path.read_text().replace("snapshot: 2", "snapshot_after_train: true"))
    assert Solver(path, TrainOptions(quiet=True)).prefix == ""


# --- what messages name


KNOWN = r"known: AbsVal, Accuracy, .*, Tile\)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('layer { name: "t"\n type: "Triplet" }', f":2: layer 't': type 'Triplet' .*{KNOWN}"),
        ('layer { name: "t"\n type: "TripletLoss"\n triplet_loss_param { margin: 1 } }', f":2: layer 't': .*{KNOWN}"),
        ('layer { triplet_loss_param { margin: 1 }\n name: "t"\n type: "TripletLoss" }', f":3: layer 't': .*{KNOWN}"),
        ('layer { name: "t"\n type: "ReLU"\n relu_param { leak: 1 } }', r":3: layer 't' \(ReLU\): field 'leak' of"),
        ('layer { name: "t"\n type: "relu" }', f":2: layer 't': type 'relu' is not known; 'ReLU' is .{KNOWN}"),
        ('layer { name: "t"\n bottom: "x" top: "y" }', f":1: layer 't': type is missing .{KNOWN}"),
        ('layer { name: "t"\n type: "Python" python_param { module: "m" layer: "TripletLossLayer" } }',
         f":2: layer 't': type 'Python' .TripletLossLayer. is not supported: .*{KNOWN}"),
        ('layers { name: "t"\n type: TRIPLET_LOSS }', ":2: layer 't': type TRIPLET_LOSS is none of the old form's"),
        ('layers { name: "t" triplet_loss_param { margin: 1 }\n type: TRIPLET_LOSS }',
         r":2: layer 't': type TRIPLET_LOSS is none of the old form's, layers \{ \} .known: ABSVAL"),
        ('layers { name: "t"\n type: RELU relu_param {\n leak: 1 } }', r":3: layer 't' \(RELU\): field 'leak'"),
        ('layer { name: "t"\n type: RELU }', ":2: layer 't': .*'layers' is the old form"),
        ('layer { name: "t" type: "ReLU"\n blobs_lr: 1 }', ":2: layer 't' .*that is of the old form"),
        ('layers { name: "t"\n type: "ReLU" }', ":2: .*none of the old form's.*today's form"),
        ('layer { name: "a" type: "ReLU" }\nlayers { name: "t" type: RELU }', ":1: 'layer' beside 'layers', the old"),
    ],
)  # fmt: skip
def test_messages_name_layer_line_and_known_types(text, message):
    with pytest.raises(PrototxtError, match=f"net.prototxt{message}") as error:
        make_net(text)
    assert "\n" not in str(error.value)


def test_a_net_inside_a_solver_is_named_alike():
    text = 'base_lr: 1\nnet_param { layer { name: "t"\n type: "TripletLoss" triplet_param { } } }'
    with pytest.raises(PrototxtError, match=rf"s.prototxt:3: layer 't': type 'TripletLoss' .*{KNOWN}"):
        prototxt.parse(text, "SolverParameter", "s.prototxt")
