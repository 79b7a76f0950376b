from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from siamplex.errors import PrototxtError
from tests.engine.conftest import make_layer, run_layer


def direct(x, method, kernel, stride, pad):
    """Caffe's pooling by its rules: sizes round up, windows are clipped, AVE counts padding."""
    n, channels, height, width = x.shape

    def extent(size):
        count = math.ceil((size + 2 * pad - kernel) / stride) + 1
        if pad and (count - 1) * stride >= size + pad:
            count -= 1
        return count

    rows, columns = extent(height), extent(width)
    y = np.zeros((n, channels, rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride - pad, j * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            area = (bottom - top) * (right - left)
            window = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            if method == "MAX":
                y[:, :, i, j] = window.max(axis=(2, 3))
            else:
                y[:, :, i, j] = window.sum(axis=(2, 3)) / area
    return y


@given(
    method=st.sampled_from(["MAX", "AVE"]),
    size=st.integers(4, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_equals_the_rules(method, size, kernel, stride, pad, seed):
    assume(pad < kernel and stride <= kernel)
    x = np.random.default_rng(seed).normal(size=(2, 3, size, size + 1)).astype(np.float32)
    text = (
        f"type: 'Pooling' bottom: 'x' top: 'y' pooling_param "
        f"{{ pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad} }}"
    )
    (y,) = run_layer(text, [x])
    np.testing.assert_allclose(y.numpy(), direct(x, method, kernel, stride, pad), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "pooled"), [(55, 27), (27, 13), (13, 6), (14, 7), (16, 8), (8, 4)])
def test_sizes_round_up(size, pooled):
    """AlexNet's sizes divide evenly and hide the rule; 14, 16 and 8 show it."""
    layer = make_layer("type: 'Pooling' bottom: 'x' top: 'y' pooling_param { pool: MAX kernel_size: 3 stride: 2 }")
    assert layer.setup([(1, 1, size, size)]) == [(1, 1, pooled, pooled)]


def test_round_mode_floor():
    layer = make_layer(
        "type: 'Pooling' bottom: 'x' top: 'y' pooling_param { pool: MAX kernel_size: 3 stride: 2 round_mode: FLOOR }"
    )
    assert layer.setup([(1, 1, 14, 14)]) == [(1, 1, 6, 6)]


def test_global_pooling():
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    (y,) = run_layer("type: 'Pooling' bottom: 'x' top: 'y' pooling_param { pool: AVE global_pooling: true }", [x])
    np.testing.assert_allclose(y.numpy().ravel(), x.mean(axis=(2, 3)).ravel())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("pool: STOCHASTIC kernel_size: 2", "STOCHASTIC is not supported"),
        ("pool: MAX", "kernel_size, or kernel_h and kernel_w, is missing"),
        ("pool: MAX kernel_size: 2 pad: 2", "pad must be smaller"),
        ("pool: MAX kernel_size: 2 stride: 0", "stride must be positive"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(PrototxtError, match=message):
        make_layer(f"type: 'Pooling' bottom: 'x' top: 'y' pooling_param {{ {settings} }}")
