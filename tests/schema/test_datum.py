from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from siamplex.schema import messages
from siamplex.schema.datum import DatumError, decode, decode_uniform, encode

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


def test_encoded_images_are_not_turned():
    """IMREAD_UNCHANGED passes over EXIF's orientation."""
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4), (200, 90, 10)).save(out, "JPEG", exif=exif)
    record = messages.Datum(data=out.getvalue(), encoded=True).SerializeToString()
    assert decode(record)[0].shape == (3, 4, 8)
    assert decode(record, "color")[0].shape == (3, 8, 4)


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


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_records_laid_out_alike_are_decoded_at_once(kind):
    stream = np.random.default_rng(2)
    samples = [(stream.integers(0, 200, (2, 1, 3)).astype(kind), int(stream.integers(2))) for _ in range(20)]
    values, labels = decode_uniform([encode(*sample) for sample in samples])
    assert values.dtype == kind and labels.dtype == np.float32
    for i, (value, label) in enumerate(samples):
        np.testing.assert_array_equal(values[i], value)
        assert labels[i] == label


@pytest.mark.parametrize("odd", ["shape", "length", "label", "broken", "no label"])
def test_records_laid_out_otherwise_are_left_to_decode(odd):
    plain = encode(np.ones((2, 1, 1), np.float32), 1)
    other = {
        "shape": encode(np.ones((1, 2, 1), np.float32), 1),
        "length": encode(np.ones((3, 1, 1), np.float32), 1),
        "label": encode(np.ones((2, 1, 1), np.float32), 1)[:-1] + b"\x80",
        "broken": plain[:-1],
        "no label": messages.Datum(channels=2, height=1, width=1, float_data=[1, 2]).SerializeToString(),
    }[odd]
    if odd != "label":
        assert decode_uniform([plain, other]) is None
        assert decode_uniform([other, other]) is None or odd in ("shape", "length")
    assert decode_uniform([encode(np.ones((2, 1, 1), np.float32), 300)] * 2) is None
