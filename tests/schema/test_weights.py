from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from siamplex.errors import InputError
from siamplex.schema import messages
from siamplex.schema.weights import (
    read_caffemodel,
    read_mean_file,
    read_solverstate,
    write_caffemodel,
    write_solverstate,
)

ARRAYS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
    elements=st.floats(-1e6, 1e6, width=32),
)


@given(st.lists(ARRAYS, min_size=1, max_size=3))
def test_caffemodels_go_round_and_protobuf_reads_them(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("w") / "w.caffemodel"
    layer = messages.LayerParameter(name="fc", type="InnerProduct")
    written = write_caffemodel(path, "net", [(layer, arrays)])
    assert path.stat().st_size == written.size
    back = read_caffemodel(path)["fc"]
    for a, b in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(a, b)
    message = messages.NetParameter.FromString(path.read_bytes())
    assert message.name == "net" and message.layer[0].type == "InnerProduct"
    for a, blob in zip(arrays, message.layer[0].blobs, strict=True):
        assert tuple(blob.shape.dim) == a.shape
        np.testing.assert_array_equal(np.array(blob.data, np.float32), a.ravel())


def test_solverstates_go_round_and_protobuf_reads_them(tmp_path):
    path = tmp_path / "s.solverstate"
    history = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(4, np.float32)]
    write_solverstate(path, 70, "w.caffemodel", history, 3)
    state = read_solverstate(path)
    assert (state.iteration, state.learned_net, state.current_step) == (70, "w.caffemodel", 3)
    for a, b in zip(history, state.history, strict=True):
        np.testing.assert_array_equal(a, b)
    message = messages.SolverState.FromString(path.read_bytes())
    assert (message.iter, message.learned_net, message.current_step) == (70, "w.caffemodel", 3)
    assert tuple(message.history[0].shape.dim) == (2, 3)


def field(number, payload):
    """A length-delimited field, written out by hand."""
    key, size = number << 3 | 2, len(payload)
    out = b""
    for value in (key, size):
        while value > 127:
            out += bytes([value & 127 | 128])
            value >>= 7
        out += bytes([value])
    return out + payload


def test_older_ages_of_caffemodel(tmp_path):
    """V1 layers (NetParameter field 2: name 4, blobs 6) and V0 inside them (layer 1: blobs 50)."""
    dims = b"\x08\x01\x10\x01\x18\x02\x20\x03"  # num 1, channels 1, height 2, width 3
    blob = dims + field(5, struct.pack("<6f", *range(6)))
    v1 = field(2, field(4, b"fc6") + field(6, blob))
    v0 = field(2, field(1, field(1, b"conv1") + field(50, blob)))
    for name, content in (("fc6", v1), ("conv1", v0)):
        path = tmp_path / f"{name}.caffemodel"
        path.write_bytes(content)
        (array,) = read_caffemodel(path)[name]
        np.testing.assert_array_equal(array, np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3))


def test_values_that_are_not_packed(tmp_path):
    blob = field(7, field(1, b"\x02")) + b"".join(b"\x2d" + struct.pack("<f", v) for v in (1.5, -2))
    (tmp_path / "m").write_bytes(field(100, field(1, b"x") + field(7, blob)))
    assert read_caffemodel(tmp_path / "m")["x"][0].tolist() == [1.5, -2]


def test_double_data(tmp_path):
    blob = field(7, field(1, b"\x02")) + field(8, struct.pack("<2d", 1.5, -2))
    (tmp_path / "m").write_bytes(field(100, field(1, b"x") + field(7, blob)))
    assert read_caffemodel(tmp_path / "m")["x"][0].tolist() == [1.5, -2]


def test_a_cut_file_is_refused_at_every_length(tmp_path):
    whole = tmp_path / "whole.caffemodel"
    layer = messages.LayerParameter(name="fc")
    write_caffemodel(whole, "n", [(layer, [np.ones((3, 4), np.float32)])])
    data = whole.read_bytes()
    cut = tmp_path / "cut.caffemodel"
    for size in range(len(data)):
        cut.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"cut\.caffemodel: expected"):
            read_caffemodel(cut)


def test_shapes_that_claim_more_than_there_is(tmp_path):
    huge = field(7, field(1, b"\xff\xff\xff\x7f\xff\xff\xff\x7f")) + field(5, b"\0" * 8)
    (tmp_path / "m").write_bytes(field(100, field(1, b"x") + field(7, huge)))
    with pytest.raises(InputError, match="with 2 values"):
        read_caffemodel(tmp_path / "m")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("junk") / "junk"
    path.write_bytes(data)
    for read in (read_caffemodel, read_solverstate, read_mean_file):
        try:
            read(path)
        except InputError as error:
            assert str(path) in str(error)


def test_mean_file(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    blob = messages.BlobProto(num=1, channels=3, height=2, width=2, data=values.ravel().tolist())
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    np.testing.assert_array_equal(read_mean_file(tmp_path / "mean"), values[0])


def test_reads_golden_files(goldens):
    for file in goldens.glob("*/*.caffemodel"):
        assert {"conv1", "fc6"} <= set(read_caffemodel(file))
    for file in goldens.glob("*/*.solverstate"):
        state = read_solverstate(file)
        assert state.iteration > 0 and len(state.history) >= 12
