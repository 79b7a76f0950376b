from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tests.weights.conftest import as_caffemodel, as_npz, as_onnx

from siamplex.errors import InputError
from siamplex.run import durable
from siamplex.weights import alexnet


def turned(arrays):
    return arrays | {"conv1": [np.ascontiguousarray(arrays["conv1"][0][:, ::-1]), arrays["conv1"][1]]}


def test_the_published_file_by_its_sha1(made_up, tmp_path, monkeypatch):
    path = as_caffemodel(tmp_path / "a", made_up)
    monkeypatch.setattr(alexnet, "SHA1", hashlib.sha1(path.read_bytes()).hexdigest())
    found = alexnet.load(path)
    assert found.kind == "published"
    assert found.note == f"conv1-3 start from AlexNet's bvlc_alexnet.caffemodel (SHA-1 {alexnet.SHA1})"
    np.testing.assert_array_equal(found.arrays["conv3"][0], made_up["conv3"][0])


def test_the_zoos_conversions_by_their_sha256(made_up, tmp_path, monkeypatch):
    path = as_onnx(tmp_path / "a", made_up)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(alexnet.CONVERSIONS, digest, "bvlcalexnet-99.onnx")
    found = alexnet.load(path)
    assert found.kind == "conversion" and found.facts["sha256"] == digest
    assert f"bvlc_alexnet.caffemodel as bvlcalexnet-99.onnx (SHA-256 {digest[:16]}" in found.note


def test_hashes_are_hashes():
    assert len(alexnet.SHA1) == 40 and len(alexnet.CONVERSIONS) == 6
    assert all(len(d) == 64 and int(d, 16) for d in alexnet.CONVERSIONS)
    assert {n.split("-")[1] for n in alexnet.CONVERSIONS.values()} == {f"{i}.onnx" for i in (12, 9, 8, 7, 6, 3)}


@pytest.mark.parametrize("write", [as_caffemodel, as_onnx, as_npz])
def test_any_file_by_fingerprint(write, passing, tmp_path):
    found = alexnet.load(write(tmp_path / "a", passing))
    assert found.kind == "fingerprint"
    assert found.note == "conv1-3 start from AlexNet's by fingerprint (conv1, conv2 and conv3 in full)"
    assert found.facts["precision"] == {"conv1": "in full", "conv2": "in full", "conv3": "in full"}


def test_precision_is_named(passing, tmp_path):
    half = {n: [a.astype(np.float16) for a in both] for n, both in passing.items()}
    assert "(conv1, conv2 and conv3 in float16)" in alexnet.load(as_onnx(tmp_path / "a", half)).note
    steps = {
        n: [np.rint(a * 128) / np.float32(128) for a in both] if n != "conv1" else both for n, both in passing.items()
    }
    found = alexnet.load(as_npz(tmp_path / "b", steps))
    assert found.words == "AlexNet's by fingerprint (conv1 in full, conv2 and conv3 multiples of 1/128)"


def test_kernels_in_rgb_order_are_named_and_turned(passing, tmp_path):
    found = alexnet.load(as_onnx(tmp_path / "a", turned(passing)))
    assert "kernels given in RGB order, turned into BGR" in found.note and found.facts["channels"] == "RGB"
    np.testing.assert_array_equal(found.arrays["conv1"][0], passing["conv1"][0])


def test_other_weights_need_to_be_asked_for(made_up, tmp_path):
    path = as_npz(tmp_path / "a", made_up)
    with pytest.raises(InputError, match=r"expected AlexNet's conv1-3 \(--accept-other-weights takes others\), found"):
        alexnet.load(path)
    found = alexnet.load(path, accept_other=True)
    assert found.kind == "other"
    assert found.note.startswith("conv1-3 start from other weights than AlexNet's (SHA-256 ")


def test_what_is_no_file_is_said(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="No such file"):
        alexnet.load(tmp_path / "none")
    with pytest.raises(InputError, match="found a folder"):
        alexnet.load(tmp_path)
    monkeypatch.setattr(alexnet, "MAX_BYTES", 3)
    (tmp_path / "large").write_bytes(b"1234")
    with pytest.raises(InputError, match="of at most 3 bytes, found 4 bytes"):
        alexnet.load(tmp_path / "large")


def test_a_file_is_hashed_once_a_process(passing, tmp_path, monkeypatch):
    path = as_npz(tmp_path / "a", passing)
    digest = durable.sha256(path)
    first = alexnet.load(path)
    with monkeypatch.context() as patch:
        patch.setattr(durable.Path, "open", lambda *a, **k: pytest.fail("read again"))
        assert durable.sha256(path) == digest and alexnet.load(path) is first
    path.write_bytes(b"other")
    assert durable.sha256(path) == hashlib.sha256(b"other").hexdigest()
    with pytest.raises(InputError):
        alexnet.load(path)


def test_the_real_ones(shared):
    assert alexnet.load(shared).words == (
        "AlexNet's by fingerprint (conv1 in full, conv2 and conv3 multiples of 1/128)"
    )
