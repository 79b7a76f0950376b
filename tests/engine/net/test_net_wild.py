"""What Caffe takes in a net is taken, what it refuses is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from siamplex.engine.fast.kernels import FastKernels
from siamplex.engine.fast.planner import FastPlanner
from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.wiring import AUTOMATIC
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import prototxt
from siamplex.schema.weights import read_caffemodel, write_caffemodel
from tests.engine.conftest import make_net, write_lmdb

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def fc(name: str, top: str = "", bottom: str = "x", more: str = "", settings: str = "num_output: 3") -> str:
    return (
        f"layer {{ name: '{name}' type: 'InnerProduct' bottom: '{bottom}' top: '{top or name}' {more} "
        f"inner_product_param {{ {settings} weight_filler {{ type: 'gaussian' }} }} }}\n"
    )


def run(net: Net) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return net.forward(Context(train=True), {"x": torch.tensor(X)})


def test_layers_of_one_name_and_of_none():
    net = make_net(INPUT + fc("a") + fc("a", "b") + fc("", "c") + fc("", "d"))
    assert [n.name for n in net.nodes] == ["in", "a", "a#2", "", "#2"]
    first, second, third, fourth = (p.tensor for p in net.parameters if p.index == 0)
    assert not torch.equal(first, second) and not torch.equal(third, fourth)  # each draws its own
    assert net.outputs == ["a", "b", "c", "d"]


def test_weights_for_layers_of_one_name(tmp_path):
    """Caffe fills the first with the last one's arrays; a net's own snapshot gives each its own."""
    text = (
        INPUT
        + fc("a", settings="num_output: 3 bias_term: false")
        + fc("a", "b", settings="num_output: 3 bias_term: false")
    )
    net = make_net(text)
    arrays = [p.tensor.numpy().copy() for p in net.parameters]
    path = tmp_path / "w.caffemodel"
    write_caffemodel(path, "n", net.owned())
    for own, expected in ((True, arrays), (False, [arrays[1], arrays[1]])):
        other = make_net(text, seed=1)
        drawn = other.parameters[1].tensor.clone().numpy()
        assert other.load(read_caffemodel(path), path, own) == (["a", "a#2"] if own else ["a"])
        wanted = expected if own else [expected[0], drawn]
        for parameter, array in zip(other.parameters, wanted, strict=True):
            np.testing.assert_array_equal(parameter.tensor.numpy(), array)
    test = make_net(text, "TEST", share_with=net, seed=5)
    assert test.parameters[0].tensor is net.parameters[1].tensor  # as Caffe fills its test nets
    with pytest.raises(PrototxtError, match="1 blobs in phase TEST, 0 in the other's layer of this name"):
        relu = "layer { name: 'a' type: 'ReLU' bottom: 'a' top: 'a' }"
        make_net(text, "TEST", share_with=make_net(text + relu))


def test_settings_of_other_layers_have_no_effect():
    more = "lrn_param { local_size: 4 } convolution_param { } transform_param { scale: 2 } loss_param { }"
    assert make_net(INPUT + fc("a", more=more)).outputs == ["a"]


def test_no_dropout_at_a_ratio_of_0():
    none = "dropout_param { dropout_ratio: 0 }"
    net = make_net(INPUT + f"layer {{ name: 'd' type: 'Dropout' bottom: 'x' top: 'd' {none} }}")
    np.testing.assert_array_equal(run(net)[1]["d"].numpy(), X)


def test_sharing_by_count_alone():
    four = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }\n'
    a = fc("a", more="param { name: 'w' } param { lr_mult: 0 }")
    other = "num_output: 3 transpose: true bias_term: false"
    with pytest.raises(PrototxtError, match=r"has shape \(3, 4\) in layer 'a', \(4, 3\) here"):
        make_net(four + a + fc("b", more="param { name: 'w' }", settings=other))
    net = make_net(four + a + fc("b", more="param { name: 'w' share_mode: PERMISSIVE } loss_weight: 1", settings=other))
    net.learn()
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    loss, blobs = net.forward(Context(train=True), {"x": torch.tensor(x)})
    weight = net.parameters[0].tensor.detach().numpy()
    np.testing.assert_allclose(blobs["b"].detach().numpy(), x @ weight.reshape(4, 3), rtol=1e-5)
    loss.backward()
    wanted = np.tile(x.sum(axis=0)[:, None], (1, 3)).reshape(3, 4)
    np.testing.assert_allclose(net.parameters[0].tensor.grad.numpy(), wanted)
    with pytest.raises(PrototxtError, match="has shape"):
        make_net(four + a + fc("b", more="param { name: 'w' share_mode: PERMISSIVE }", settings="num_output: 5"))


LABEL = 'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 } } }\n'


def test_the_top_a_loss_does_not_name_is_no_output():
    net = make_net(INPUT + LABEL + fc("a") + "layer { name: 's' type: 'SoftmaxWithLoss' bottom: 'a' bottom: 'l' }")
    assert net.outputs == [] and net.nodes[-1].tops == [AUTOMATIC]
    loss, _ = net.forward(Context(train=True), {"x": torch.tensor(X), "l": torch.zeros(2)})
    assert float(loss) > 0


def test_a_second_top_of_a_loss():
    text = INPUT + LABEL + fc("a") + "layer { name: 's' type: 'SoftmaxWithLoss' bottom: 'a' bottom: 'l' TOPS }"
    tops = "top: 's' top: 'p'"
    net = make_net(text.replace("TOPS", tops + " loss_weight: 2 loss_weight: 0"))
    loss, blobs = net.forward(Context(train=True), {"x": torch.tensor(X), "l": torch.zeros(2)})
    assert float(loss) == pytest.approx(2 * float(blobs["s"])) and net.outputs == ["p", "s"]
    assert make_net(text.replace("TOPS", tops)).nodes[-1].loss_weights == [1, 0]
    with pytest.raises(PrototxtError, match="1 loss weights for 2 tops"):
        make_net(text.replace("TOPS", tops + " loss_weight: 2"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (fc("a", more="include { phase: TRAIN } exclude { stage: 'x' }"), "include rules or exclude rules, not both"),
        (fc("a", more="include { phase: TEST } exclude { stage: 'x' }"), "include rules or exclude rules, not both"),
        ("layer { name: 's' type: 'Silence' bottom: 'x' top: 's' }", "expected 0 tops, found 1"),
        ("layer { name: 'f' type: 'Flatten' bottom: 'x' top: 'x' }", "works not in place"),
        ("layer { name: 'p' type: 'PReLU' bottom: 's' top: 'p' }", "expected a .N, C, .... bottom"),
        ("layer { name: 'h' type: 'HingeLoss' bottom: 's' bottom: 'x' }", "takes no bottoms of shapes"),
    ],
)
def test_refuses(text, message):
    scalar = "layer { name: 'r' type: 'Reduction' bottom: 'x' top: 's' }\n"
    if "bottom: 's'" not in text:
        scalar = ""
    with pytest.raises(PrototxtError, match=message):
        make_net(INPUT + scalar + text)


def test_old_fields_in_todays_form_are_said_to_have_no_effect(tmp_path):
    folder = write_lmdb(tmp_path / "l", [(np.full((1, 2, 2), 8, np.uint8), 0)])
    text = f"layer {{ name: 'd' type: 'Data' top: 'd'\n data_param {{ source: '{folder}' batch_size: 1 backend: LMDB\n"
    net = make_net(text + " scale: 0.5 } }")
    assert (net.forward(Context(train=True))[1]["d"] == 8).all()
    (note,) = net.notes
    assert note.startswith("net.prototxt:3: layer 'd' (Data): scale of data_param has no effect, as in Caffe")


def test_caffes_blobs_without_a_shape(tmp_path):
    """A shared PReLU's slope: one value, and no shape written."""
    blob = b"\x2a\x04" + np.float32(0.5).tobytes()
    layer = b"\x0a\x01p" + b"\x3a" + bytes([len(blob)]) + blob
    shared = "prelu_param { channel_shared: true }"
    net = make_net(INPUT + f"layer {{ name: 'p' type: 'PReLU' bottom: 'x' top: 'y' {shared} }}")
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    net.load(read_caffemodel(path), path)
    assert net.parameters[0].tensor.shape == () and float(net.parameters[0].tensor) == 0.5
    write_caffemodel(path, "n", net.owned())
    assert read_caffemodel(path)["p"][0].shape == ()


def test_a_wide_weight_that_a_parameter_layer_shares_keeps_both_gradients(twin_solver, monkeypatch):
    """Factors of one user and the plain gradient of another add up."""
    monkeypatch.setattr(FastKernels.keep_factors, "__defaults__", (1,))
    more = """
layer { name: "weight" type: "Parameter" top: "weight" param { name: "fw" }
  parameter_param { shape { dim: 5 dim: 48 } } }
layer { name: "small" type: "Reduction" bottom: "weight" top: "small" loss_weight: 0.1
  reduction_param { operation: SUMSQ } }
"""
    solvers = []
    for factors in (False, True):
        solver = Solver(twin_solver(net_more=more, prefix=f"p{factors}"), TrainOptions(quiet=True, shortcut=False))
        if factors:
            planner = FastPlanner()
            solver.kernels = planner.kernels
            solver.sgd.keep_factors(planner)
            assert solver.sgd.wide is not None
        solver.solve()
        solvers.append(solver)
    for a, b in zip(*(s.net.parameters for s in solvers), strict=True):
        np.testing.assert_allclose(a.tensor.detach().numpy(), b.tensor.detach().numpy(), rtol=1e-5, atol=1e-7)


NORMALISED = """
layer {{ name: "bn{0}" type: "BatchNorm" bottom: "fc{0}" top: "fc{0}" }}
layer {{ name: "tanh{0}" type: "TanH" bottom: "fc{0}" top: "fc{0}" }}
layer {{ name: "swish{0}" type: "Swish" bottom: "fc{0}" top: "fc{0}" swish_param {{ beta: 3 }} }}
layer {{ name: "mvn{0}" type: "PReLU" bottom: "fc{0}" top: "fc{0}" }}
"""


@pytest.fixture
def odd_twins(twin_solver: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Twins with layers between fc and out of which the shortcuts must keep clear."""

    def write(between: str, conv: float, **options: str) -> Path:
        solver = twin_solver(conv=conv, **options)
        net = tmp_path / "net.prototxt"
        text = net.read_text()
        for half, after in (("", 'layer { name: "out" '), ("_p", 'layer { name: "out_p" ')):
            text = text.replace(after, between.format(half) + after)
        net.write_text(text)
        return solver

    return write


@pytest.mark.parametrize("conv", [0, 1])
@pytest.mark.parametrize(
    "between",
    [
        NORMALISED,
        'layer {{ name: "a{0}" type: "Sigmoid" bottom: "fc{0}" top: "fc{0}" }}'
        'layer {{ name: "b{0}" type: "Power" bottom: "fc{0}" top: "fc{0}" power_param {{ scale: -2 }} }}',
        'layer {{ name: "a{0}" type: "ReLU" bottom: "fc{0}" top: "fc{0}" }}'
        'layer {{ name: "b{0}" type: "Bias" bottom: "fc{0}" top: "fc{0}" bias_param {{ filler {{ value: -0.1 }} }} }}',
        'layer {{ name: "a{0}" type: "ELU" bottom: "fc{0}" top: "fc{0}" }}'
        'layer {{ name: "b{0}" type: "Scale" bottom: "fc{0}" top: "fc{0}" param {{ name: "s" }} }}',
    ],
)
def test_shortcuts_change_nothing(odd_twins, between, conv):
    solvers = []
    for shortcut in (True, False):
        path = odd_twins(between, conv, prefix=f"p{shortcut}")
        solver = Solver(path, TrainOptions(quiet=True, shortcut=shortcut))
        solver.solve()
        solvers.append(solver)
    assert bool(solvers[0].plan) == (conv == 0)
    for a, b in zip(*(s.net.parameters for s in solvers), strict=True):
        x, y = (p.tensor.detach().numpy() for p in (a, b))
        assert np.abs(x - y).max() <= 1e-4 * max(np.abs(y).max(), 0.05), a.label  # a bias that cancels is rounding


@pytest.mark.parametrize("stop", [6])
def test_statistics_survive_the_first_steps_and_a_resumption(odd_twins, stop):
    """Trial steps take their forward passes back, and a resumed run ends bit for bit like an unbroken one."""
    ends = []
    for name, checked in (("plain", False), ("checked", True)):
        solver = Solver(odd_twins(NORMALISED, 0, prefix=name), TrainOptions(quiet=True, check_start=checked))
        solver.solve()
        ends.append(solver)
    path = odd_twins(NORMALISED, 0, prefix="checked")
    resumed = Solver(path, TrainOptions(quiet=True, snapshot=path.parent / f"checked_iter_{stop}.solverstate"))
    assert resumed.iteration == stop
    resumed.solve()
    for a, b, c in zip(*(s.net.parameters for s in (*ends, resumed)), strict=True):
        assert torch.equal(a.tensor, b.tensor) and torch.equal(b.tensor, c.tensor), a.label


def test_old_nets_are_built_and_read_old_weights(tmp_path):
    text = """input: "x" input_dim: 1 input_dim: 1 input_dim: 3 input_dim: 3
layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }"""
    net = make_net(text)
    assert net.inputs == ["x"] and [p.label for p in net.parameters] == ["c[0]", "c[1]"]
    path = tmp_path / "net.prototxt"
    path.write_text(text.replace("kernel_size: 3", "kernel_size: 4"))
    with pytest.raises(PrototxtError, match=r"net.prototxt:2: layer 'c' .*kernel spans 4 of 3"):
        Net(prototxt.read(path, "NetParameter"), "TEST")
    with pytest.raises(InputError, match="2 arrays for layer 'c'"):
        net.load({"c": [np.zeros((2, 1, 3, 3), np.float32)]}, "w")
    net.load({"c": [np.ones((2, 1, 3, 3), np.float32), np.ones((1, 1, 1, 2), np.float32)]}, "w")
    assert float(net.parameters[1].tensor[0]) == 1
