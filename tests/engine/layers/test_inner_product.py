from __future__ import annotations

import numpy as np
import pytest

from siamplex.errors import PrototxtError
from tests.engine.conftest import make_layer, run_layer

X = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
B = np.arange(5, dtype=np.float32)


@pytest.mark.parametrize("transpose", [False, True])
def test_flattens_and_multiplies(transpose):
    text = (
        "type: 'InnerProduct' bottom: 'x' top: 'y' "
        f"inner_product_param {{ num_output: 5 transpose: {str(transpose).lower()} }}"
    )
    (y,) = run_layer(text, [X], [W.T.copy() if transpose else W, B])
    np.testing.assert_allclose(y.numpy(), X.reshape(3, 8) @ W.T + B, rtol=1e-5, atol=1e-6)


def test_axis_keeps_leading_axes():
    layer = make_layer("type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { num_output: 5 axis: 2 }")
    assert layer.setup([(3, 4, 2, 2)]) == [(3, 4, 5)]
    assert layer.blobs[0].shape == (5, 4)


def test_without_bias():
    layer = make_layer(
        "type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { num_output: 5 bias_term: false }"
    )
    layer.setup([(3, 4)])
    assert len(layer.blobs) == 1


def test_refuses_no_outputs():
    with pytest.raises(PrototxtError, match="num_output must be positive"):
        make_layer("type: 'InnerProduct' bottom: 'x' top: 'y' inner_product_param { }")
