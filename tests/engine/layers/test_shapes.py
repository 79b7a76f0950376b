"""Slice, Concat, Flatten, Reshape, Embed, Input: what changes shape only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamplex.errors import PrototxtError
from tests.engine.conftest import make_layer, run_layer

PAIR = np.arange(2 * 6 * 2 * 2, dtype=np.float32).reshape(2, 6, 2, 2)


def test_slice_parts_a_pair():
    for axis in ("slice_dim: 1", "axis: 1", ""):
        a, b = run_layer(f"type: 'Slice' bottom: 'x' top: 'a' top: 'b' slice_param {{ {axis} slice_point: 3 }}", [PAIR])
        np.testing.assert_array_equal(a.numpy(), PAIR[:, :3])
        np.testing.assert_array_equal(b.numpy(), PAIR[:, 3:])


def test_slice_evenly_without_points():
    tops = run_layer("type: 'Slice' bottom: 'x' top: 'a' top: 'b' top: 'c'", [PAIR])
    assert [t.shape[1] for t in tops] == [2, 2, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [("slice_point: 7", "slice points"), ("slice_point: 1 slice_point: 2", "2 slice points for 2 tops")],
)
def test_slice_refuses(settings, message):
    with pytest.raises(PrototxtError, match=message):
        make_layer(f"type: 'Slice' bottom: 'x' top: 'a' top: 'b' slice_param {{ {settings} }}").setup([(2, 6, 2, 2)])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_concat_undoes_slice(sizes):
    x = np.random.default_rng(0).normal(size=(2, sum(sizes), 3)).astype(np.float32)
    parts = np.split(x, np.cumsum(sizes)[:-1], axis=1)
    bottoms = " ".join(f"bottom: 'b{i}'" for i in range(len(parts)))
    (y,) = run_layer(f"type: 'Concat' {bottoms} top: 'y'", parts)
    np.testing.assert_array_equal(y.numpy(), x)


def test_concat_refuses_shapes_that_do_not_meet():
    with pytest.raises(PrototxtError, match="do not meet"):
        make_layer("type: 'Concat' bottom: 'a' bottom: 'b' top: 'y'").setup([(2, 3, 4), (2, 3, 5)])


def test_flatten():
    (y,) = run_layer("type: 'Flatten' bottom: 'x' top: 'y'", [PAIR])
    np.testing.assert_array_equal(y.numpy(), PAIR.reshape(2, 24))
    (y,) = run_layer("type: 'Flatten' bottom: 'x' top: 'y' flatten_param { axis: 0 end_axis: 1 }", [PAIR])
    assert tuple(y.shape) == (12, 2, 2)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ("shape { dim: 0 dim: 3 dim: -1 }", (2, 3, 8)),
        ("shape { dim: -1 }", (48,)),
        ("shape { dim: 3 dim: 2 } axis: 1 num_axes: 1", (2, 3, 2, 2, 2)),
        ("shape { dim: 4 } axis: -2 num_axes: 2", None),
    ],
)
def test_reshape(settings, shape):
    text = f"type: 'Reshape' bottom: 'x' top: 'y' reshape_param {{ {settings} }}"
    if shape is None:
        with pytest.raises(PrototxtError):
            make_layer(text).setup([PAIR.shape])
    else:
        (y,) = run_layer(text, [PAIR])
        assert tuple(y.shape) == shape
        np.testing.assert_array_equal(y.numpy().ravel(), PAIR.ravel())


def test_embed_looks_rows_up():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    text = "type: 'Embed' bottom: 'i' top: 'y' embed_param { input_dim: 4 num_output: 3 bias_term: false }"
    (y,) = run_layer(text, [np.array([[[[2]]], [[[0]]]], np.float32)], [table])
    assert tuple(y.shape) == (2, 1, 1, 1, 3)
    np.testing.assert_array_equal(y.numpy().reshape(2, 3), table[[2, 0]])


def test_embed_refuses_an_index_past_its_table():
    text = "type: 'Embed' bottom: 'i' top: 'y' embed_param { input_dim: 4 num_output: 3 }"
    with pytest.raises(PrototxtError, match=r"index 1..4 into a table of 4 rows"):
        run_layer(text, [np.array([1, 4], np.float32)])


def test_input_gives_its_shapes():
    layer = make_layer("type: 'Input' top: 'a' top: 'b' input_param { shape { dim: 2 dim: 3 } }")
    assert layer.setup([]) == [(2, 3), (2, 3)]
