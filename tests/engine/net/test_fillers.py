from __future__ import annotations

import math

import numpy as np
import pytest

from siamplex.engine.net.fillers import FillerError, fill
from siamplex.schema import messages, prototxt


def filler(text):
    return (
        prototxt.parse(f"layer {{ inner_product_param {{ weight_filler {{ {text} }} }} }}", "NetParameter")
        .message.layer[0]
        .inner_product_param.weight_filler
    )


def test_same_seed_layer_and_index_same_values():
    x = filler("type: 'xavier'")
    a = fill(x, (4, 5), 1, "fc4", 0)
    assert np.array_equal(a, fill(x, (4, 5), 1, "fc4", 0))
    for other in ((2, "fc4", 0), (1, "fc5", 0), (1, "fc4", 1)):
        assert not np.array_equal(a, fill(x, (4, 5), *other))
    assert a.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("type: 'xavier'", math.sqrt(3 / 300)),
        ("type: 'xavier' variance_norm: FAN_OUT", math.sqrt(3 / 200)),
        ("type: 'xavier' variance_norm: AVERAGE", math.sqrt(3 / 250)),
        ("type: 'uniform' min: -0.25 max: 0.25", 0.25),
    ],
)
def test_uniform_fillers_fill_their_range(text, bound):
    values = fill(filler(text), (200, 300), 0, "x", 0)
    assert np.abs(values).max() <= bound * 1.0001
    assert values.min() < -0.999 * bound and values.max() > 0.999 * bound
    assert abs(values.mean()) < 0.01 * bound
    assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.01)


def test_fan_of_a_convolution_counts_its_window():
    values = fill(filler("type: 'xavier'"), (8, 3, 11, 11), 0, "conv1", 0)
    assert np.abs(values).max() == pytest.approx(math.sqrt(3 / 363), rel=0.01)


def test_normal_fillers():
    values = fill(filler("type: 'gaussian' mean: 2 std: 0.5"), (300, 300), 0, "x", 0)
    assert values.mean() == pytest.approx(2, abs=0.01) and values.std() == pytest.approx(0.5, rel=0.01)
    values = fill(filler("type: 'msra'"), (200, 400), 0, "x", 0)
    assert values.std() == pytest.approx(math.sqrt(2 / 400), rel=0.01)
    values = fill(filler("type: 'gaussian' sparse: 20"), (200, 400), 0, "x", 0)
    assert (values != 0).mean() == pytest.approx(0.1, rel=0.05)


def test_constant_unitball_bilinear():
    assert (fill(messages.FillerParameter(value=3), (2, 2), 0, "x", 0) == 3).all()
    ball = fill(filler("type: 'positive_unitball'"), (5, 7), 0, "x", 0)
    assert (ball >= 0).all()
    np.testing.assert_allclose(ball.sum(axis=1), 1, rtol=1e-5)
    kernel = fill(filler("type: 'bilinear'"), (1, 1, 4, 4), 0, "x", 0)[0, 0]
    np.testing.assert_allclose(kernel[1], np.array([0.25, 0.75, 0.75, 0.25]) * 0.75)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("type: 'orthogonal'", (2, 2)),
        ("type: 'bilinear'", (2, 2)),
        ("type: 'gaussian' sparse: 9", (2, 2)),
        ("type: 'gaussian' sparse: -2", (2, 2)),
        ("type: 'gaussian' std: 0", (2, 2)),
        ("type: 'gaussian' std: -1", (2, 2)),
        ("type: 'gaussian' std: nan", (2, 2)),
        ("type: 'uniform' min: 2", (2, 2)),
        ("type: 'uniform' min: nan", (2, 2)),
        ("type: 'uniform' min: -inf", (2, 2)),
        ("type: 'constant' sparse: 1", (2, 2)),
        ("type: 'xavier' sparse: 0", (2, 2)),
        ("type: 'xavier'", ()),
        ("type: 'msra'", ()),
        ("type: 'constant'", (0, 2)),
    ],
)
def test_refuses_what_caffe_stops_at(text, shape):
    with pytest.raises(FillerError):
        fill(filler(text), shape, 0, "x", 0)


@pytest.mark.parametrize(
    "text", ["type: 'uniform' min: 1 max: 1", "type: 'gaussian' sparse: 2", "type: 'constant' std: 0 min: 2 sparse: -1"]
)
def test_takes_what_caffe_takes(text):
    assert np.isfinite(fill(filler(text), (2, 2), 0, "x", 0)).all()
