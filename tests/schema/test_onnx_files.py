from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.onnx_bytes import conv, model, number, part, tensor

from siamplex.errors import InputError
from siamplex.schema.onnx_files import read_onnx
from siamplex.schema.wire import WireError, prefix


def read(tmp_path, data):
    (tmp_path / "m.onnx").write_bytes(data)
    return read_onnx(tmp_path / "m.onnx")


@given(
    shape=st.lists(st.integers(0, 4), max_size=5), dtype=st.sampled_from(["float32", "float16"]),
    packed=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_arrays_come_back(tmp_path_factory, shape, dtype, packed, seed):
    array = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    for as_floats in (False, True) if dtype == "float32" else (False,):
        data = model([tensor("w", array, packed, as_floats)])
        back = read(tmp_path_factory.mktemp("onnx"), data).initialisers["w"].array()
        assert back.dtype == np.float32 and back.shape == tuple(shape)
        np.testing.assert_array_equal(back, array.astype(np.float32))


def test_unpacked_floats_and_split_ones(tmp_path):
    values = np.arange(6, dtype=np.float32)
    singles = b"".join(b"\x25" + v.tobytes() for v in values)  # field 4, four bytes each
    halves = part(4, values[:4].tobytes()) + part(4, values[4:].tobytes())
    for data in (singles, halves):
        found = read(tmp_path, model([part(1, b"\x02\x03") + number(2, 1) + part(8, b"w") + data]))
        np.testing.assert_array_equal(found.initialisers["w"].array(), values.reshape(2, 3))


def test_a_convolution_names_its_bias(tmp_path):
    one = tensor("w", np.ones((1, 1), np.float32))
    relu = part(1, b"w") + part(4, b"Relu")
    found = read(tmp_path, model([one], [conv("w", "b"), relu, conv("v")]))
    assert found.convolutions == [("w", "b"), ("v", "")]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (part(1, b"\x02\x03") + number(2, 1) + part(8, b"w") + part(9, b"1234"), "'w' of shape .2, 3. with 4 bytes"),
        (number(1, 2**31) + number(2, 1) + part(8, b"w"), "'w' of shape .2147483648,."),
        (number(1, 2**64 - 1) + part(8, b"w"), "'w' of shape"),
        (part(1, b"\x01" * 40) + part(8, b"w"), "more than 32 axes"),
        (tensor("w", np.ones(2, np.int8)), r"'w' is of ONNX type 3, not float32 \(1\) or float16 \(10\)"),
        (tensor("w", np.ones(2, np.float16), as_floats=True), "'w' holds float16 as float_data"),
        (number(1, 2) + number(2, 1) + part(8, b"w") + part(13, b"\x0a\x01k") + number(14, 1), "in another file"),
        (part(8, b"w" * 5000), "a name of 5000 bytes"),
        (part(8, b"\xff\xfe"), "a name that is not UTF-8"),
        (prefix(9, 1 << 31) + b"\0" * 9, "field 9 claims 2147483648 bytes, 9 are left"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, data, what):
    with pytest.raises((InputError, WireError), match=what):
        read(tmp_path, model([data])).initialisers["w"].array()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "an empty file"),
        (number(1, 7), "0 graphs"),
        (model([]) + model([]), "2 graphs"),
        (model([tensor("w", np.ones(1, np.float32))] * 2), "two initialisers named 'w'"),
    ],
)
def test_other_models_are_refused(tmp_path, data, what):
    with pytest.raises(InputError, match=rf"m\.onnx: expected a.* ONNX model, found {what}"):
        read(tmp_path, data)
