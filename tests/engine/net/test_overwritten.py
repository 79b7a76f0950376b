"""Backward passes read what stands in Caffe's array at the end: layers in place behind others change gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.layer import Context
from tests.engine.conftest import make_net

STREAM = np.random.default_rng(3)
X = STREAM.normal(size=(2, 3, 4, 4)).astype(np.float32)
W = STREAM.normal(size=(2, 3, 4, 4)).astype(np.float32)  # what the loss weighs the end by

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }'
WEIGHED = """
layer { name: "w" type: "Input" top: "w" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "end" type: "Eltwise" bottom: "END" bottom: "w" top: "end"
  eltwise_param { operation: PROD } loss_weight: 1 }
"""


def gradient(layers: str, end: str) -> np.ndarray:
    """dL/dx for L = sum of w times the blob ``end`` after ``layers``, which read ``x``."""
    net = make_net(INPUT + layers + WEIGHED.replace("END", end))
    x = torch.tensor(X, requires_grad=True)
    net.forward(Context(train=True), {"x": x, "w": torch.tensor(W)})[0].backward()
    return x.grad.numpy()


def one(kind: str, top: str, bottom: str = "x", more: str = "") -> str:
    return f"layer {{ name: '{kind}{top}' type: '{kind}' bottom: '{bottom}' top: '{top}' {more} }}"


def mvn(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = x - x.mean(axis=(2, 3), keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=(2, 3), keepdims=True)) + 1e-9
    return centred / deviation, deviation


def mvn_gradient(y: np.ndarray, dy: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Caffe's: ``y`` is what stands in the top."""
    slope, shift = (dy * y).mean(axis=(2, 3), keepdims=True), dy.mean(axis=(2, 3), keepdims=True)
    return (dy - y * slope - shift) / deviation


def test_mvn_reads_what_a_relu_in_place_left():
    y, deviation = mvn(X)
    dy = W * (y > 0)
    found = gradient(one("MVN", "y") + one("ReLU", "y", "y"), "y")
    np.testing.assert_allclose(found, mvn_gradient(np.maximum(y, 0), dy, deviation), rtol=1e-4, atol=1e-5)
    apart = gradient(one("MVN", "y") + one("ReLU", "z", "y"), "z")
    np.testing.assert_allclose(apart, mvn_gradient(y, dy, deviation), rtol=1e-4, atol=1e-5)
    assert np.abs(found - apart).max() > 0.01


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# in place and linear: Caffe's is exact but for what it overwrites
SCALE = "scale_param { filler { value: 2 } bias_term: true bias_filler { value: -0.5 } }"


@pytest.mark.parametrize(
    ("kind", "slope"),
    [
        ("Sigmoid", lambda x, y: y * (1 - y)),
        ("TanH", lambda x, y: 1 - y**2),
        ("ELU", lambda x, y: np.where(x > 0, 1, 1 + y)),
        ("Exp", lambda x, y: y),
        ("Swish", lambda x, y: y + sigmoid(x) * (1 - y)),
    ],
)
def test_layers_that_read_their_top(kind, slope):
    forward = {
        "Sigmoid": sigmoid, "TanH": np.tanh, "Exp": np.exp,
        "ELU": lambda x: np.where(x > 0, x, np.exp(x) - 1), "Swish": lambda x: x * sigmoid(x),
    }[kind]  # fmt: skip
    y = forward(X)
    found = gradient(one(kind, "y") + one("Scale", "y", "y", SCALE), "y")
    np.testing.assert_allclose(found, 2 * W * slope(X, 2 * y - 0.5), rtol=1e-4, atol=1e-5)
    apart = gradient(one(kind, "y") + one("Scale", "z", "y", SCALE), "z")
    np.testing.assert_allclose(apart, 2 * W * slope(X, y), rtol=1e-4, atol=1e-5)


def test_a_relu_takes_its_signs_from_what_a_scale_in_place_left():
    found = gradient(one("Power", "a", "x", "power_param { scale: 1 }") + one("ReLU", "a", "a")
                     + one("Scale", "a", "a", SCALE), "a")  # fmt: skip
    left = 2 * np.maximum(X, 0) - 0.5
    np.testing.assert_allclose(found, 2 * W * (left > 0), rtol=1e-5)


def test_relu_and_dropout_in_place_leave_everything_as_it_is():
    net = make_net(INPUT + one("Convolution", "c", "x", "convolution_param { num_output: 2 kernel_size: 1 }")
                   + one("ReLU", "c", "c") + one("Dropout", "c", "c")
                   + one("PReLU", "p", "c") + one("PReLU", "p", "p") + one("BatchNorm", "p", "p")
                   + one("Scale", "p", "p") + one("ReLU", "p", "p"))  # fmt: skip
    assert [n.name for n in net.nodes if n.overwritten] == []


def test_a_convolution_reads_its_bottom_as_a_later_layer_left_it():
    text = (
        INPUT
        + one("Split", "a", "x", "top: 'b'")
        + one(
            "Convolution",
            "c",
            "a",
            "convolution_param { num_output: 1 kernel_size: 4 bias_term: false } loss_weight: 1",
        )
    )
    plain, behind = make_net(text), make_net(text + one("ReLU", "b", "b"))
    for net, seen in ((plain, X), (behind, np.maximum(X, 0))):
        net.learn()
        loss, _ = net.forward(Context(train=True), {"x": torch.tensor(X)})
        loss.backward()
        np.testing.assert_allclose(net.parameters[0].tensor.grad.numpy()[0], seen.sum(axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "forward", "slope"),
    [
        ("Power", "power_param { power: 2 }", np.square, lambda x: 2 * x),
        ("Power", "power_param { scale: 3 shift: 1 }", lambda x: 3 * x + 1, lambda x: 0 * x + 3),
        ("Power", "power_param { power: 3 shift: 4 }", lambda x: (x + 4) ** 3, lambda x: (X + 4) ** 3 / (x + 4) * 3),
        ("Log", "log_param { shift: 9 }", lambda x: np.log(x + 9), lambda x: 1 / (x + 9)),
    ],
)
def test_in_place_a_slope_is_multiplied_by_itself(kind, settings, forward, slope):
    """Caffe writes the slope, from its own result, over the top's gradient, and then multiplies by what is there."""
    copied = one("Power", "a", "x", "power_param { scale: 1 }")
    in_place = gradient(copied + one(kind, "a", "a", settings), "a")
    np.testing.assert_allclose(in_place, slope(forward(X)) ** 2, rtol=1e-3)
    apart = gradient(copied + one(kind, "b", "a", settings), "b")
    np.testing.assert_allclose(apart, W * slope(X), rtol=1e-3)


def test_mvn_in_place_overwrites_the_gradient_that_it_reads():
    copied = one("Power", "a", "x", "power_param { scale: 1 }")
    y, deviation = mvn(X)
    share = y * (W * y).sum(axis=(2, 3), keepdims=True)
    share = share + share.sum(axis=(2, 3), keepdims=True)
    found = gradient(copied + one("MVN", "a", "a"), "a")
    np.testing.assert_allclose(found, -share / 8 / deviation, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings"), [("ReLU", "relu_param { negative_slope: -1 }"), ("ELU", "elu_param { alpha: -2 }")]
)
def test_a_slope_below_zero_turns_the_signs_that_a_layer_in_place_reads(kind, settings):
    copied = one("Power", "a", "x", "power_param { scale: 1 }")
    found = gradient(copied + one(kind, "a", "a", settings), "a")
    y = np.where(X > 0, X, -X if kind == "ReLU" else -2 * (np.exp(X) - 1))
    assert (y >= 0).all()
    np.testing.assert_allclose(found, W, rtol=1e-4)  # all are taken for positive


def test_lrn_reads_its_top():
    lrn = one("LRN", "y", "x", "lrn_param { local_size: 3 alpha: 2 beta: 0.75 }")
    scale = np.ones_like(X)
    for c in range(3):
        scale[:, c] += 2 / 3 * (X[:, max(0, c - 1) : c + 2] ** 2).sum(axis=1)
    y = X * scale**-0.75
    left = 2 * y - 0.5
    ratio = 2 * W * left / scale
    sums = np.stack([ratio[:, max(0, c - 1) : c + 2].sum(axis=1) for c in range(3)], axis=1)
    expected = 2 * W * scale**-0.75 - 2 * 2 * 0.75 / 3 * X * sums
    found = gradient(lrn + one("Scale", "y", "y", SCALE), "y")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_passes_of_one_net_keep_their_own_arrays():
    """Two forward passes before either goes back: each reads what it wrote itself."""
    net = make_net(INPUT + one("Sigmoid", "y") + one("Scale", "y", "y", SCALE) + WEIGHED.replace("END", "y"))
    inputs = [torch.tensor(x, requires_grad=True) for x in (X, X[::-1].copy())]
    losses = [net.forward(Context(train=True), {"x": x, "w": torch.tensor(W)})[0] for x in inputs]
    sum(losses).backward()
    for x in inputs:
        left = 2 * sigmoid(x.detach().numpy()) - 0.5
        np.testing.assert_allclose(x.grad.numpy(), 2 * W * left * (1 - left), rtol=1e-4, atol=1e-5)
