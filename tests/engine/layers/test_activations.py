"""ReLU, Dropout, Softmax, SoftmaxWithLoss, Accuracy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.layer import Context
from siamplex.errors import PrototxtError
from tests.engine.conftest import make_layer, make_net, run_layer

X = np.array([[-2.0, 0.0, 3.0], [1.0, -1.0, 0.5]], np.float32)


def test_relu():
    (y,) = run_layer("type: 'ReLU' bottom: 'x' top: 'y'", [X])
    np.testing.assert_array_equal(y.numpy(), np.maximum(X, 0))
    (y,) = run_layer("type: 'ReLU' bottom: 'x' top: 'y' relu_param { negative_slope: 0.1 }", [X])
    np.testing.assert_allclose(y.numpy(), np.where(X > 0, X, 0.1 * X), rtol=1e-6)


DROP = "type: 'Dropout' bottom: 'x' top: 'y' dropout_param { dropout_ratio: 0.3 }"


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.75, 0.001])
def test_dropout_keeps_its_share_and_its_mean(ratio):
    ones = np.ones((199, 501), np.float32)
    text = DROP.replace("0.3", str(ratio))
    (y,) = run_layer(text, [ones], context=Context(train=True, seed=1))
    kept = (y != 0).float().mean()
    assert abs(float(kept) - (1 - ratio)) < 0.005  # three standard deviations of 100,000 draws, and more
    assert set(np.unique(y.numpy())) == {np.float32(0), np.float32(1 / (1 - ratio))}


def test_dropout_masks_differ_by_iteration_pass_and_seed_but_not_by_repetition():
    ones = np.ones((50, 50), np.float32)

    def mask(**where):
        return run_layer(DROP, [ones], context=Context(train=True, **where))[0]

    first = mask(seed=1, iteration=4)
    assert torch.equal(first, mask(seed=1, iteration=4))
    for other in ({"seed": 2, "iteration": 4}, {"seed": 1, "iteration": 5}, {"seed": 1, "iteration": 4, "sub_pass": 1}):
        assert not torch.equal(first, mask(**other))


def test_dropout_is_identity_in_test():
    (y,) = run_layer(DROP, [X], context=Context(train=False))
    np.testing.assert_array_equal(y.numpy(), X)


def test_dropout_refuses_a_ratio_of_one():
    with pytest.raises(PrototxtError, match="not between 0 and 1"):
        make_layer("type: 'Dropout' bottom: 'x' top: 'y' dropout_param { dropout_ratio: 1 }")


INPUT = 'input: "x" input_shape { dim: 2 dim: 3 } '
DROPPED = 'layer { name: "d" type: "Dropout" bottom: "x" top: "y" dropout_param { dropout_ratio: %s } %s }'


@pytest.mark.parametrize(("phase", "settings"), [("TEST", "include { phase: TEST }"), ("TRAIN", "phase: TEST")])
def test_a_dropout_of_phase_test_may_state_a_ratio_of_one(phase, settings):
    net = make_net(INPUT + DROPPED % (1, settings), phase)
    _, blobs = net.forward(Context(train=phase == "TRAIN"), {"x": torch.tensor(X)})
    np.testing.assert_array_equal(blobs["y"].numpy(), X)


@pytest.mark.parametrize(
    ("phase", "ratio", "settings"), [("TRAIN", 1, ""), ("TEST", 1, "phase: TRAIN"), ("TEST", 1.5, ""), ("TEST", -1, "")]
)
def test_other_dropouts_with_such_ratios_are_refused(phase, ratio, settings):
    with pytest.raises(PrototxtError, match=r"net.prototxt:1: layer 'd' \(Dropout\): .* is not between 0 and 1"):
        make_net(INPUT + DROPPED % (ratio, settings), phase)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_softmax():
    (y,) = run_layer("type: 'Softmax' bottom: 'x' top: 'y'", [X])
    np.testing.assert_allclose(y.numpy(), softmax(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "divisor"),
    [
        ("", 2),
        ("loss_param { ignore_label: 2 }", 1),
        ("loss_param { ignore_label: 2 normalization: FULL }", 2),
        ("loss_param { ignore_label: 2 normalize: false }", 2),
        ("loss_param { normalization: NONE }", 1),
    ],
)
def test_softmax_loss(settings, divisor):
    labels = np.array([2, 0], np.float32)
    (loss,) = run_layer(f"type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'l' top: 'loss' {settings}", [X, labels])
    logs = -np.log(softmax(X)[[0, 1], [2, 0]])
    counted = logs[1:] if "ignore" in settings else logs
    assert float(loss) == pytest.approx(counted.sum() / divisor, rel=1e-6)


def test_accuracy_counts_top_k():
    labels = np.array([2, 2], np.float32)
    (one,) = run_layer("type: 'Accuracy' bottom: 'x' bottom: 'l' top: 'acc'", [X, labels])
    (two,) = run_layer("type: 'Accuracy' bottom: 'x' bottom: 'l' top: 'acc' accuracy_param { top_k: 2 }", [X, labels])
    assert (float(one), float(two)) == (0.5, 1.0)


@pytest.mark.parametrize("kind", ["Accuracy", "SoftmaxWithLoss"])
def test_labels_past_the_classes_are_refused(kind):
    with pytest.raises(PrototxtError, match=r"a label outside 0\.\.2"):
        run_layer(f"type: '{kind}' bottom: 'x' bottom: 'l' top: 'y'", [X, np.array([0, 3], np.float32)])
