"""LSTM and RNN against their formulas written out in numpy, their gradients against finite differences.

Real Caffe 1.0 computed the same for random bottoms, weights and indicators in some thirty nets in both phases, three
passes each, tops to 2e-6 and gradients to 1e-6 (relative): with and without x_static and expose_hidden, one step,
one stream, one unit, indicators that are not 0 or 1, layers in place behind.  It also gave the behaviour where the
number of streams changes, the shapes of blobs, and took and refused the nets that are taken and refused here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.costs import cost_of
from siamplex.engine.net.layer import Context
from siamplex.engine.training.model_files import write_model
from siamplex.errors import PrototxtError
from siamplex.schema.weights import read_caffemodel
from tests.engine.conftest import make_layer, make_net

UNITS = 3
KINDS = ("LSTM", "RNN")
PARTS = {"LSTM": 2, "RNN": 1}  # of the state


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, cont, static, start, weights):
    """Outputs (T, N, H) and the last h and c."""
    inward, bias, recurrent = weights[0], weights[1], weights[-1]
    h, c = start
    outputs = []
    for x_t, goes_on in zip(x, cont, strict=True):
        gates = x_t @ inward.T + bias + (h * goes_on[:, None]) @ recurrent.T
        if static is not None:
            gates = gates + static @ weights[2].T
        i, f, o, g = np.split(gates, 4, axis=1)
        c = goes_on[:, None] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs), (h, c)


def rnn(x, cont, static, start, weights):
    """Outputs (T, N, H) and the last h."""
    inward, bias, (recurrent, outward, bias_out) = weights[0], weights[1], weights[-3:]
    (h,) = start
    outputs = []
    for x_t, goes_on in zip(x, cont, strict=True):
        total = x_t @ inward.T + bias + (h * goes_on[:, None]) @ recurrent.T
        if static is not None:
            total = total + static @ weights[2].T
        h = np.tanh(total)
        outputs.append(np.tanh(h @ outward.T + bias_out))
    return np.array(outputs), (h,)


RUN = {"LSTM": lstm, "RNN": rnn}


def shapes_of(kind, size, static=None):
    """Shapes of the blobs in Caffe's order."""
    rows = (4 if kind == "LSTM" else 1) * UNITS
    inner = [(rows, size), (rows,), *([(rows, static)] if static else []), (rows, UNITS)]
    return inner if kind == "LSTM" else [*inner, (UNITS, UNITS), (UNITS,)]


def text_of(kind, static=False, expose=False, more=""):
    hidden = [("h0", "c0"), ("h1", "c1")] if expose else [(), ()]
    bottoms = ["x", "cont", *(["s"] if static else []), *hidden[0][: PARTS[kind]]]
    tops = ["y", *hidden[1][: PARTS[kind]]]
    names = " ".join([*(f"bottom: '{b}'" for b in bottoms), *(f"top: '{t}'" for t in tops)])
    filled = f"weight_filler {{ type: 'uniform' min: -1 max: 1 }} expose_hidden: {str(expose).lower()}"
    return f"type: '{kind}' {names} recurrent_param {{ num_output: {UNITS} {filled} }} {more}"


class Case:
    """A layer, weights and bottoms in float64, and what numpy makes of them."""

    def __init__(self, kind, static=False, expose=False, steps=4, streams=2, seed=0):
        self.kind, self.stream = kind, np.random.default_rng(seed)
        self.layer = make_layer(text_of(kind, static, expose))
        self.static, self.expose = static, expose
        self.weights = [0.7 * self.stream.normal(size=s) for s in shapes_of(kind, 6, 5 if static else None)]
        self.state = [np.zeros((streams, UNITS)) for _ in range(PARTS[kind])]
        self.draw(steps, streams)

    def draw(self, steps=4, streams=2):
        """New bottoms."""
        self.x = self.stream.normal(size=(steps, streams, 2, 3))
        self.cont = (self.stream.random((steps, streams)) > 0.3).astype(float)
        self.s = self.stream.normal(size=(streams, 5)) if self.static else None
        if self.expose:
            self.state = [self.stream.normal(size=(streams, UNITS)) for _ in range(PARTS[self.kind])]

    def bottoms(self):
        given = [self.x, self.cont, *([self.s] if self.static else [])]
        return [*given, *([part[None] for part in self.state] if self.expose else [])]

    def expected(self, x=None, static=None, weights=None):
        """Top and last state by the formulas."""
        x = self.x if x is None else x
        static = self.s if static is None else static
        return RUN[self.kind](x.reshape(*x.shape[:2], -1), self.cont, static, self.state, weights or self.weights)

    def run(self, requires_grad=False):
        """(tops, bottoms, weights) of a pass, as tensors."""
        bottoms, weights = ([torch.tensor(a) for a in arrays] for arrays in (self.bottoms(), self.weights))
        for index, tensor in enumerate([*bottoms, *weights]):
            tensor.requires_grad_(requires_grad and index != 1)
        shapes = self.layer.setup([tuple(b.shape) for b in bottoms])
        assert [b.shape for b in self.layer.blobs] == [w.shape for w in self.weights]
        tops = self.layer.forward(bottoms, weights, Context(train=True))
        assert [tuple(t.shape) for t in tops] == shapes
        return tops, bottoms, weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("static", "expose"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("steps", [1, 4])
def test_follows_its_formula_from_batch_to_batch(kind, static, expose, steps):
    case = Case(kind, static, expose, steps)
    for _ in range(3):
        tops, *_ = case.run()
        expected, last = case.expected()
        np.testing.assert_allclose(tops[0].numpy(), expected, rtol=1e-6, atol=1e-7)
        for top, part in zip(tops[1:], last, strict=expose):
            np.testing.assert_allclose(top.numpy()[0], part, rtol=1e-9)
        case.state = list(last)
        case.draw(steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("static", "expose"), [(True, False), (True, True)])
def test_gradients_stay_within_the_batch(kind, static, expose):
    """In the second batch, with the state that the first left (or that is given) held fixed."""
    case = Case(kind, static, expose, seed=1)
    case.run()
    case.state = [part.astype(np.float32).astype(float) for part in case.expected()[1]]  # carried in single precision
    case.draw()
    tops, bottoms, weights = case.run(requires_grad=True)
    factors = case.stream.normal(size=tops[0].shape)
    assert not any(top.requires_grad for top in tops[1:])
    (tops[0] * torch.tensor(factors)).sum().backward()
    assert all(b.grad is None for b in bottoms[3:])
    arrays = [case.x, case.s, *case.weights]
    for index, (array, tensor) in enumerate(zip(arrays, [bottoms[0], bottoms[2], *weights], strict=True)):
        for place in np.ndindex(array.shape):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = [a.copy() for a in arrays]
                moved[index][place] += shift
                ends.append((case.expected(moved[0], moved[1], moved[2:])[0] * factors).sum())
            assert float(tensor.grad[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-7)


def test_an_indicator_between_0_and_1_has_caffes_gradient():
    """f = cont sigmoid(a) counts with f (1 - f) in the gradient, as in Caffe, not cont sigmoid(a) (1 - sigmoid(a))."""
    layer = make_layer(text_of("LSTM").replace(f"num_output: {UNITS}", "num_output: 1"))
    layer.setup([(1, 1, 1), (1, 1)])
    layer.carried = [torch.zeros(1), torch.tensor([0.8])]
    bias = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64, requires_grad=True)
    weights = [torch.zeros(4, 1, dtype=torch.float64), bias, torch.zeros(4, 1, dtype=torch.float64)]
    bottoms = [torch.ones(1, 1, 1, dtype=torch.float64), torch.full((1, 1), 0.6, dtype=torch.float64)]
    (top,) = layer.forward(bottoms, weights, Context(train=True))
    top.sum().backward()
    before = float(np.float32(0.8))
    f = 0.6 * sigmoid(-0.2)
    c = f * before + sigmoid(0.3) * np.tanh(0.1)
    assert float(top.detach()) == pytest.approx(sigmoid(0.5) * np.tanh(c))
    assert float(bias.grad[1]) == pytest.approx(sigmoid(0.5) * (1 - np.tanh(c) ** 2) * before * f * (1 - f))


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_where_the_number_of_streams_changes(kind):
    """Fewer streams begin with the first values of the last state as they lie in memory, more than ever at zero.

    Where it grows back within what was there, the values behind are those of the earlier batch.
    """
    case = Case(kind, streams=3)
    memory = [np.zeros(0) for _ in case.state]
    for streams in (3, 1, 2, 3, 4, 4):
        case.draw(4, streams)
        count = streams * UNITS
        memory = [part if len(part) >= count else np.zeros(count) for part in memory]
        case.state = [part[:count].reshape(streams, UNITS) for part in memory]
        tops, *_ = case.run()
        expected, last = case.expected()
        np.testing.assert_allclose(tops[0].numpy(), expected, rtol=1e-6, atol=1e-7)
        memory = [np.concatenate([new.ravel(), old[count:]]) for new, old in zip(last, memory, strict=True)]


INPUTS = {"x": (4, 2, 2, 3), "cont": (4, 2), "s": (2, 5), "h0": (1, 2, 3), "c0": (1, 2, 3)}


def net_of(layers, **shapes):
    inputs = "".join(
        f"input: '{name}' input_shape {{ {' '.join(f'dim: {d}' for d in shape)} }}\n"
        for name, shape in {**INPUTS, **shapes}.items()
    )
    return inputs + layers


def layer_of(kind, **options):
    return f"layer {{ name: 'it' {text_of(kind, **options)} }}\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "options", "shapes", "what"),
    [
        (("bottom: 'cont'", ""), {}, {}, "expected 2 to 3 bottoms, found 1"),
        (("bottom: 'cont'", "bottom: 'cont' bottom: 's' bottom: 'h0'"), {}, {}, "expected 2 to 3 bottoms, found 4"),
        (("top: 'y'", "top: 'y' top: 'z'"), {}, {}, "expected 1 tops, found 2"),
        (("top: 'y'", ""), {}, {}, "expected 1 tops, found 0"),
        (("bottom: 'h0'", ""), {"expose": True}, {}, r"expected \d to \d bottoms, found \d"),
        (("top: 'h1'", ""), {"expose": True}, {}, r"expected \d tops, found \d"),
        (("num_output: 3", "num_output: 0"), {}, {}, "num_output must be positive"),
        (("num_output: 3", ""), {}, {}, "num_output must be positive"),
        ((), {}, {"x": (4, 2)}, r"expected a \(T, N, ...\) bottom of three axes or more, found \(4, 2\)"),
        ((), {}, {"cont": (8,)}, r"expected a \(4, 2\) bottom that says where sequences go on, found \(8,\)"),
        ((), {}, {"cont": (4, 2, 1)}, r"expected a \(4, 2\) bottom .*, found \(4, 2, 1\)"),
        ((), {}, {"cont": (3, 2)}, r"expected a \(4, 2\) bottom .*, found \(3, 2\)"),
        ((), {}, {"cont": (4, 3)}, r"expected a \(4, 2\) bottom .*, found \(4, 3\)"),
        ((), {"static": True}, {"s": (2,)}, r"expected a \(2, ...\) bottom of two axes or more, found \(2,\)"),
        ((), {"static": True}, {"s": (3, 5)}, r"expected a \(2, ...\) bottom .*, found \(3, 5\)"),
        ((), {"expose": True}, {"h0": (2, 3)}, r"expected a \(1, 2, 3\) bottom, h at the start, found \(2, 3\)"),
        ((), {"expose": True}, {"h0": (1, 2, 4)}, r"expected a \(1, 2, 3\) bottom, h at the start, found \(1, 2, 4\)"),
        (("top: 'y'", "top: 'x'"), {}, {"x": (4, 2, 3)}, "works not in place"),
        (("bottom: 'x'", "param { } param { } param { } param { } param { } param { } bottom: 'x'"), {}, {},
         r"6 param entries for \d blobs"),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_layer(kind, change, options, shapes, what):
    layer = layer_of(kind, **options)
    with pytest.raises(PrototxtError, match=rf"^net.prototxt:\d+: layer 'it' \({kind}\): {what}[^\n]*$"):
        make_net(net_of(layer.replace(*change) if change else layer, **shapes))


def test_the_start_of_c_has_the_shape_of_the_state():
    with pytest.raises(PrototxtError, match=r"expected a \(1, 2, 3\) bottom, c at the start, found \(1, 1, 3\)"):
        make_net(net_of(layer_of("LSTM", expose=True), c0=(1, 1, 3)))


def test_the_number_of_steps_stays():
    case = Case("LSTM")
    case.run()
    with pytest.raises(PrototxtError, match="4 steps before and 5 now: their number is fixed"):
        case.layer.setup([(5, 2, 2, 3), (5, 2)])
    with pytest.raises(PrototxtError, match=r"bottoms of shapes \(4, 2, 2, 3\) and \(3, 2\)"):
        weights = [torch.tensor(w) for w in case.weights]
        case.layer.forward([torch.tensor(case.x), torch.ones(3, 2)], weights, Context(train=True))


def test_no_gradient_goes_to_the_indicators():
    learned = "layer { name: 'p' type: 'Parameter' top: 'cont' parameter_param { shape { dim: 4 dim: 2 } } }\n"
    loss = "layer { name: 'loss' type: 'Reduction' bottom: 'y' top: 'loss' loss_weight: 1 }"
    inputs = "input: 'x' input_shape { dim: 4 dim: 2 dim: 6 }\n"
    net = make_net(inputs + learned + layer_of("LSTM") + loss)
    net.learn()
    total, _ = net.forward(Context(train=True), {"x": torch.ones(4, 2, 6)})
    with pytest.raises(PrototxtError, match=r"layer 'it' \(LSTM\): no gradient goes to where sequences go on"):
        total.backward()


def given(seed=0):
    stream = np.random.default_rng(seed)
    return {name: torch.tensor(stream.normal(size=s), dtype=torch.float32) for name, s in INPUTS.items()} | {
        "cont": torch.ones(4, 2)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_each_net_carries_its_own_state(kind):
    text = net_of(layer_of(kind))
    train = make_net(text)
    test, alone = (make_net(text, "TEST", share_with=net) for net in (train, train))
    first = train.forward(Context(train=True), given())[1]["y"]
    second = train.forward(Context(train=True), given(1))[1]["y"]
    tested = [test.forward(Context(train=False), given(seed))[1]["y"] for seed in (0, 1)]
    assert torch.equal(first, tested[0]) and torch.equal(second, tested[1])
    assert not torch.equal(second, alone.forward(Context(train=False), given(1))[1]["y"])


@pytest.mark.parametrize("kind", KINDS)
def test_towers_that_share_weights_are_one_function(kind):
    """At every step, and the log says that Caffe 1.0 has it otherwise.

    There the second tower's outputs in phase TRAIN are the first's at step 1 and others from step 2 on.
    """
    count = len(shapes_of(kind, 6))
    names = " ".join(f"param {{ name: 'w{i}' }}" for i in range(count))
    twin = layer_of(kind, more=names)
    text = net_of(twin + twin.replace("name: 'it'", "name: 'twin'").replace("top: 'y'", "top: 'z'"))
    net = make_net(text)
    blobs = net.forward(Context(train=True), given())[1]
    assert torch.equal(blobs["y"], blobs["z"]) and blobs["y"].abs().sum() > 0
    (note,) = net.notes
    assert "layer 'twin'" in note and "has the weights of it at all steps; Caffe 1.0 shares them at the first" in note
    assert not make_net(text, "TEST").notes and not make_net(net_of(twin)).notes


def test_a_layer_in_place_behind_one_step_changes_the_state():
    """In Caffe the top of one step is the array of h itself; of several steps it is a copy."""
    relu = "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }"
    for steps, changes in ((1, True), (4, False)):
        shapes = {"x": (steps, 2, 2, 3), "cont": (steps, 2)}
        net = make_net(net_of(layer_of("LSTM") + relu, **shapes))
        values = {name: value[:steps] if name in shapes else value for name, value in given().items()}
        net.forward(Context(train=True), values)
        h, c = net.node("it").layer.carried
        assert bool((h >= 0).all()) is changes and bool((c < 0).any())


def test_multiply_adds_are_those_of_the_products():
    (lstm_cost,) = (c for c in cost_of(make_net(net_of(layer_of("LSTM", static=True)))).layers if c.name == "it")
    assert lstm_cost.multiply_adds == 2 * (4 * (12 * 6 + 12 * 3) + 12 * 5)
    (rnn_cost,) = (c for c in cost_of(make_net(net_of(layer_of("RNN")))).layers if c.name == "it")
    assert rnn_cost.multiply_adds == 2 * 4 * (3 * 6 + 3 * 3 + 3 * 3)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_files_have_caffes_layout(kind, tmp_path):
    """Real Caffe reads such a file and computes the same, and its own file is read here likewise."""
    text = net_of(layer_of(kind, static=True))
    net, other = make_net(text, seed=1), make_net(text, seed=2)
    write_model(tmp_path / "it.caffemodel", net)
    layers = read_caffemodel(tmp_path / "it.caffemodel")
    assert [blob.shape for blob in layers["it"]] == shapes_of(kind, 6, 5)
    assert other.load(layers, "it.caffemodel") == ["it"]
    outputs = [one.forward(Context(train=True), given())[1]["y"] for one in (net, other)]
    assert torch.equal(*outputs)
