from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from siamplex.schema import messages
from siamplex.schema.datum import DatumError, decode, encode

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


@given(hnp.arrays(np.uint8, SHAPES), st.integers(0, 5))
def test_bytes_go_round(values, label):
    back, found = decode(encode(values, label))
    np.testing.assert_array_equal(back, values)
    assert back.dtype == np.uint8 and found == label


def test_floats_go_round():
    values = np.array([[[3.0]], [[503.0]]], np.float32)
    back, label = decode(encode(values, 1))
    np.testing.assert_array_equal(back, values)
    assert back.dtype == np.float32 and label == 1


def test_encoded_images_come_out_bgr():
    picture = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    data = cv2.imencode(".png", picture)[1].tobytes()
    values, label = decode(messages.Datum(data=data, encoded=True, label=2).SerializeToString())
    np.testing.assert_array_equal(values, picture.transpose(2, 0, 1))
    assert label == 2


@pytest.mark.parametrize(
    "datum",
    [
        messages.Datum(channels=3, height=2, width=2, data=b"12345"),
        messages.Datum(channels=-1, height=2, width=-2, data=b"1234"),
        messages.Datum(channels=1 << 20, height=1 << 20, width=1, data=b"1"),
        messages.Datum(encoded=True, data=b"no image"),
    ],
)
def test_refuses(datum):
    with pytest.raises(DatumError):
        decode(datum.SerializeToString())


@given(st.binary(max_size=100))
def test_any_bytes_are_decoded_or_refused(data):
    try:
        values, _ = decode(data)
    except DatumError:
        return
    assert values.ndim == 3
