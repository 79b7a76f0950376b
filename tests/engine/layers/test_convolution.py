from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamplex.errors import PrototxtError
from tests.engine.conftest import make_layer, run_layer


def direct(x, w, b, stride, pad, dilation, group):
    """Convolution by its definition, one output at a time."""
    n, _, height, width = x.shape
    out, per_group, kh, kw = w.shape
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = (height + 2 * pad - (dilation * (kh - 1) + 1)) // stride + 1
    columns = (width + 2 * pad - (dilation * (kw - 1) + 1)) // stride + 1
    y = np.zeros((n, out, rows, columns))
    for o in range(out):
        g = o // (out // group)
        for i in range(rows):
            for j in range(columns):
                window = x[
                    :,
                    g * per_group : (g + 1) * per_group,
                    i * stride : i * stride + dilation * kh : dilation,
                    j * stride : j * stride + dilation * kw : dilation,
                ]
                y[:, o, i, j] = (window * w[o]).sum(axis=(1, 2, 3)) + b[o]
    return y


@given(
    size=st.integers(5, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
    group=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_equals_the_definition(size, kernel, stride, pad, dilation, group, seed):
    stream = np.random.default_rng(seed)
    x = stream.normal(size=(2, 4, size, size + 1)).astype(np.float32)
    w = stream.normal(size=(6, 4 // group, kernel, kernel)).astype(np.float32)
    b = stream.normal(size=6).astype(np.float32)
    text = (
        f"type: 'Convolution' bottom: 'x' top: 'y' convolution_param {{ num_output: 6 kernel_size: {kernel} "
        f"stride: {stride} pad: {pad} dilation: {dilation} group: {group} }}"
    )
    (y,) = run_layer(text, [x], [w, b])
    np.testing.assert_allclose(y.numpy(), direct(x, w, b, stride, pad, dilation, group), rtol=1e-4, atol=1e-4)


def test_kernel_height_and_width_may_differ():
    text = (
        "type: 'Convolution' bottom: 'x' top: 'y' convolution_param "
        "{ num_output: 2 kernel_h: 3 kernel_w: 1 bias_term: false }"
    )
    layer = make_layer(text)
    assert layer.setup([(1, 1, 5, 5)]) == [(1, 2, 3, 5)]
    assert [blob.shape for blob in layer.blobs] == [(2, 1, 3, 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("num_output: 3 kernel_size: 3 group: 2", "group must divide num_output"),
        ("num_output: 2 ", "kernel_size is missing"),
        ("kernel_size: 3", "num_output must be positive"),
        ("num_output: 2 kernel_size: 3 stride: 0", "stride must be positive"),
        ("num_output: 2 kernel_h: 3 kernel_w: 3 kernel_size: 3", "give kernel_size or kernel_h and kernel_w, not both"),
    ],
)
def test_refuses(settings, message):
    text = f"type: 'Convolution' bottom: 'x' top: 'y' convolution_param {{ {settings} }}"
    with pytest.raises(PrototxtError, match=message):
        make_layer(text)


def test_refuses_a_kernel_larger_than_its_input():
    layer = make_layer("type: 'Convolution' bottom: 'x' top: 'y' convolution_param { num_output: 1 kernel_size: 7 }")
    with pytest.raises(PrototxtError, match="kernel spans 7 of 5"):
        layer.setup([(1, 1, 5, 5)])
