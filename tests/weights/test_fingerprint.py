from __future__ import annotations

import numpy as np
import pytest

from siamplex.weights.convolution_files import read_convolutions
from siamplex.weights.fingerprint import fingerprint, precision


def test_alexnets_own_are_recognised(shared):
    found = fingerprint(read_convolutions(shared))
    assert found is not None and found.channels == "BGR"
    assert found.words == "conv1 in full, conv2 and conv3 multiples of 1/128"


def test_in_float16_and_with_turned_channels(shared):
    arrays = read_convolutions(shared)
    half = {n: [w.astype(np.float16).astype(np.float32)] for n, (w, _) in arrays.items()}
    found = fingerprint(half)
    assert found is not None and found.precision["conv1"] == "in float16"
    turned = arrays | {"conv1": [arrays["conv1"][0][:, ::-1]]}
    found = fingerprint(turned)
    assert found is not None and found.channels == "RGB"


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["conv1"][0].__setitem__((0, 0, 0, 0), 0.5),
        lambda a: a["conv1"][0].__setitem__((0, 0, 0, 0), np.nan),
        lambda a: a["conv1"][0].__setitem__((0, 0, 0, 0), 1e30),
        lambda a: a["conv2"][0].__imul__(1.03),
        lambda a: a["conv3"][0].__imul__(0.97),
        lambda a: a["conv3"][0].__imul__(0),
        lambda a: a["conv3"][0].__setitem__((0, 0, 0, 0), np.inf),
        lambda a: a.update(conv1=[a["conv1"][0][::-1]]),
    ],
)
def test_others_are_not(passing, change):
    assert fingerprint(passing) is not None
    arrays = {name: [a.copy() for a in both] for name, both in passing.items()}
    change(arrays)
    assert fingerprint(arrays) is None


def test_deviations_within_two_percent(passing):
    for factor, known in ((1.018, True), (0.982, True), (1.025, False)):
        scale = np.float32(0.0253 * factor / passing["conv2"][0].std())
        arrays = passing | {"conv2": [passing["conv2"][0] * scale]}
        assert (fingerprint(arrays) is not None) == known


def test_precision():
    stream = np.random.default_rng(0)
    values = stream.normal(size=1000).astype(np.float32)
    assert precision(values) == "in full"
    assert precision(values.astype(np.float16).astype(np.float32)) == "in float16"
    assert precision(np.rint(values * 128) / np.float32(128)) == "multiples of 1/128"
    assert precision(np.rint(values)) == "whole numbers"
