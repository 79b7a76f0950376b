"""The substitute behaves as AlexNet in what decides how the layers behind it learn."""

from __future__ import annotations

import numpy as np
import pytest
from tests.weights.layer_statistics import NAMES, drawn_faces, statistics

from siamplex.weights.alexnet import load
from siamplex.weights.convolution_files import SHAPES
from siamplex.weights.fingerprint import fingerprint
from siamplex.weights.substitute import convolution, gabor_bank

# AlexNet's over the faces of layer_statistics.py: mean, deviation, maximum, share of active units of each
# layer; rows: squared length of conv3's rows, and about the mean row
ALEXNET = {
    ("1", "conv1"): [15.77, 57.27, 2344, 0.4337],
    ("1", "conv2"): [9.342, 27.61, 465.9, 0.2373],
    ("1", "conv3"): [9.938, 26.27, 371.5, 0.2383],
    ("1", "rows"): [5.121e07, 1.347e07],
    ("1/256", "conv1"): [0.03586, 0.2015, 8.856, 0.07336],
    ("1/256", "conv2"): [0.1651, 0.4053, 11.53, 0.4567],
    ("1/256", "conv3"): [0.1803, 0.4728, 8.141, 0.2591],
    ("1/256", "rows"): [1.662e04, 4824],
}
WITHIN = 1.2  # a fifth, either way
ROWS_WITHIN = 1.3  # squares: what a seventh more in every unit comes to


@pytest.fixture(scope="module")
def faces():
    return drawn_faces()


def substitute():
    return {name: convolution(name, shape) for name, shape in SHAPES.items()}


def test_what_is_recorded_is_alexnets(shared, faces):
    found = statistics(load(shared).arrays, faces)
    for (scale, name), recorded in ALEXNET.items():
        np.testing.assert_allclose(found[scale][name], recorded, rtol=0.02, err_msg=f"{name} at {scale}")


def test_statistics_are_alexnets(faces):
    found = statistics(substitute(), faces)
    off = []
    for (scale, name), recorded in ALEXNET.items():
        within = ROWS_WITHIN if name == "rows" else WITHIN
        for what, ours, theirs in zip(NAMES, found[scale][name], recorded, strict=False):
            if not 1 / within <= ours / theirs <= within:
                off.append(f"{name} at {scale}: {what} {ours:.4g}, AlexNet's {theirs:.4g}")
    assert not off


def test_it_holds_none_of_alexnets_weights():
    assert fingerprint({name: [weights] for name, (weights, _) in substitute().items()}) is None


@pytest.mark.parametrize("name", SHAPES)
def test_weights_are_always_the_same(name):
    for a, b in zip(convolution(name, SHAPES[name]), convolution(name, SHAPES[name]), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv1", (2, 3, 11, 11)), ("conv1", (12, 3, 7, 7)), ("conv1", (192, 3, 11, 11)), ("conv1", (8, 1, 3, 3)),
        ("conv2", (2, 1, 5, 5)), ("conv2", (32, 12, 5, 5)), ("conv2", (256, 96, 5, 5)), ("conv3", (48, 32, 3, 3)),
    ],
)  # fmt: skip
def test_any_width_and_size(name, shape):
    weights, biases = convolution(name, shape)
    assert weights.shape == shape and biases.shape == shape[:1]
    assert np.isfinite(weights).all() and np.isfinite(biases).all() and weights.any()


def test_a_narrower_net_has_kernels_of_the_same_norms_and_sums():
    full, _ = convolution("conv3", (384, 256, 3, 3))
    narrow, _ = convolution("conv3", (48, 32, 3, 3))
    for measure in (lambda w: np.linalg.norm(w.reshape(len(w), -1), axis=1), lambda w: w.sum(axis=(1, 2, 3))):
        assert measure(narrow).mean() == pytest.approx(measure(full).mean(), rel=0.1)


def test_gabors_differ_in_direction_colour_and_phase():
    bank, biases = gabor_bank(96, 11)
    assert bank.shape == (96, 3, 11, 11) and biases.shape == (96,)
    flat = bank.reshape(96, -1) / np.linalg.norm(bank.reshape(96, -1), axis=1, keepdims=True)
    overlap = flat[48:] @ flat[48:].T - np.eye(48)
    assert overlap.max() < 0.999
    assert np.unique(np.round(flat[:48] @ flat[:48].T, 3)).size > 100
    energy = (bank**2).sum(axis=(1, 2, 3))
    bright = 3 * (bank.mean(axis=1) ** 2).sum(axis=(1, 2)) / energy
    assert np.median(bright[:48]) < 0.4 and np.median(bright[48:]) > 0.6  # colour first, then bright and dark
