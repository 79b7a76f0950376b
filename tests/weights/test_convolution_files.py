from __future__ import annotations

import numpy as np
import pytest
from tests.onnx_bytes import model, number, part, tensor
from tests.weights.conftest import as_caffemodel, as_npz, as_onnx

from siamplex.errors import InputError
from siamplex.schema import messages
from siamplex.schema.blobs import read_blob
from siamplex.schema.hdf5_weights import StoredLayer
from siamplex.schema.weights import write_caffemodel, write_caffemodel_hdf5
from siamplex.weights import convolution_files
from siamplex.weights.convolution_files import CAFFEMODEL, NPZ, ONNX, kind_of, read_convolutions
from siamplex.weights.initial import ungroup

FORMATS = {
    CAFFEMODEL: as_caffemodel,
    ONNX: as_onnx,
    NPZ: as_npz,
}


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, arrays in wanted.items():
        for a, b in zip(found[name], arrays, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_content_tells_the_format(kind, made_up, tmp_path):
    path = FORMATS[kind](tmp_path / "weights.of_any_name", made_up)
    assert kind_of(path) == kind
    same(read_convolutions(path), made_up)


def test_a_caffemodel_in_hdf5(made_up, tmp_path):
    path = tmp_path / "weights.of_any_name"
    write_caffemodel_hdf5(path, [StoredLayer(name, dict(enumerate(arrays))) for name, arrays in made_up.items()])
    assert kind_of(path) == CAFFEMODEL
    same(read_convolutions(path), made_up)


def test_compressed_archives_and_float64(made_up, tmp_path):
    same(read_convolutions(as_npz(tmp_path / "c", made_up, np.savez_compressed)), made_up)
    wide = {n: [a.astype(np.float64) for a in both] for n, both in made_up.items()}
    same(read_convolutions(as_npz(tmp_path / "d", wide)), made_up)


def test_a_net_of_v1_layers_with_old_shapes(made_up, tmp_path):
    """As bvlc_alexnet.caffemodel itself has them: layers in field 2, biases of shape (1, 1, 1, n)."""
    data = part(1, b"AlexNet")
    for name, (w, b) in made_up.items():
        blobs = b""
        for array in (w, b.reshape(1, 1, 1, -1)):
            dims = b"".join(number(i + 1, size) for i, size in enumerate(array.shape))
            blobs += part(6, dims + part(5, array.tobytes()))
        data += part(2, part(4, name.encode()) + blobs)
    (tmp_path / "old").write_bytes(data)
    assert read_blob(memoryview(part(5, b"") + number(1, 0)), 0, 4).size == 0
    assert kind_of(tmp_path / "old") == CAFFEMODEL
    same(read_convolutions(tmp_path / "old"), made_up)


@pytest.mark.parametrize("names", [("{}_w", "{}_b"), ("features.{}.weight", "features.{}.bias"), ("p{}", "q{}")])
def test_onnx_by_shape_where_names_differ(names, made_up, tmp_path):
    same(read_convolutions(as_onnx(tmp_path / "m", made_up, *names)), made_up)


def test_onnx_without_nodes_goes_by_names(made_up, tmp_path):
    same(read_convolutions(as_onnx(tmp_path / "m", made_up, nodes=False)), made_up)
    with pytest.raises(InputError, match="no bias of 96 values for conv1"):
        read_convolutions(as_onnx(tmp_path / "n", made_up, "p{}", "q{}", nodes=False))


def test_two_arrays_of_a_shape_are_ambiguous_unless_named(made_up, tmp_path):
    twice = made_up | {"other": made_up["conv1"]}
    same(read_convolutions(as_onnx(tmp_path / "m", twice)), made_up)
    with pytest.raises(InputError, match=r"found 2 arrays of conv1's shape \(96, 3, 11, 11\) \(ONNX model\)"):
        read_convolutions(as_onnx(tmp_path / "n", twice, "p{}", "q{}"))


@pytest.mark.parametrize("kind", FORMATS)
def test_an_ungrouped_conv2_is_grouped(kind, made_up, tmp_path):
    weights, bias = made_up["conv2"]
    full = ungroup(weights, (256, 96, 5, 5))
    same(read_convolutions(FORMATS[kind](tmp_path / "m", made_up | {"conv2": [full, bias]})), made_up)
    full[0, 95, 2, 2] = 1
    with pytest.raises(InputError, match="conv2 without AlexNet's two groups"):
        read_convolutions(FORMATS[kind](tmp_path / "n", made_up | {"conv2": [full, bias]}))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:6b0d\n", "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "a page of HTML"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"hello", "a text file"),
        (b"PK\x03\x04 and no more", "a zip archive that is damaged"),
        (part(1, b"net") + part(100, part(1, b"fc")), "no arrays of conv1's shape"),
        (model([]), "no arrays of conv1's shape"),
        (number(1, 7) + part(8, number(2, 12)), "0 graphs"),
    ],
)
def test_what_holds_no_convolutions_is_named(data, found, tmp_path):
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(InputError, match=rf"w: expected .*, found .*{found}"):
        read_convolutions(tmp_path / "w")


def test_other_shapes_types_and_values(made_up, tmp_path):
    small = made_up | {"conv1": [np.zeros((64, 3, 11, 11), np.float32), np.zeros(64, np.float32)]}
    with pytest.raises(InputError, match=r"one named conv1 of shape \(64, 3, 11, 11\)"):
        read_convolutions(as_npz(tmp_path / "a", small))
    quantised = tensor("conv1_w_0", np.zeros((96, 3, 11, 11), np.int8))
    more = [tensor(f"{n}_w_0", made_up[n][0]) for n in ("conv2", "conv3")]
    (tmp_path / "b").write_bytes(model([quantised, *more]))
    with pytest.raises(InputError, match="'conv1_w_0' is of ONNX type 3"):
        read_convolutions(tmp_path / "b")
    external = part(1, b"\x60\x03\x0b\x0b") + number(2, 1) + part(8, b"conv1_w_0") + number(14, 1)
    (tmp_path / "c").write_bytes(model([external, *more]))
    with pytest.raises(InputError, match="'conv1_w_0' keeps its values in another file"):
        read_convolutions(tmp_path / "c")
    endless = made_up | {"conv3": [made_up["conv3"][0] * np.float32(np.inf), made_up["conv3"][1]]}
    with pytest.raises(InputError, match="values of conv3 that are not finite"):
        read_convolutions(as_caffemodel(tmp_path / "d", endless))
    with pytest.raises(InputError, match="no bias of 96 values for conv1"):
        write_caffemodel(tmp_path / "e", "n", [(messages.LayerParameter(name=n), a[:1]) for n, a in made_up.items()])
        read_convolutions(tmp_path / "e")


def test_pickles_and_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(convolution_files, "_NPZ_BYTES", 1 << 24)
    with (tmp_path / "a").open("wb") as handle:
        np.savez(handle, conv1_w=np.array([{}], object))
    with pytest.raises(InputError, match="of object"):
        read_convolutions(tmp_path / "a")
    with (tmp_path / "b").open("wb") as handle:
        np.savez_compressed(handle, conv1_w=np.zeros((1 << 22) + 1, np.float32))
    assert (tmp_path / "b").stat().st_size < 1 << 16
    with pytest.raises(InputError, match=r"arrays of 167773\d+ bytes, more than 16777216"):
        read_convolutions(tmp_path / "b")
