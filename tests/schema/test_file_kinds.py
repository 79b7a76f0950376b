"""A file is recognised by its content, whatever its name."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from tests.onnx_bytes import conv, model, tensor
from tests.parsers.targets import _embeddings, _manifests, _write_lmdb

from siamplex.schema import file_kinds as kinds
from siamplex.schema import messages
from siamplex.schema.file_kinds import kind_of
from siamplex.schema.instead import instead
from siamplex.schema.weights import write_caffemodel, write_solverstate

SOLVER = 'net: "n.prototxt"\nbase_lr: 0.1 lr_policy: "fixed" max_iter: 3\n'
DEPLOY = 'name: "d"\nlayer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 } } }\n'
TRAIN_VAL = 'layer { name: "d" type: "Data" top: "d" data_param { source: "x" batch_size: 1 } }\n'


def archive(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("weights.caffemodel"), io.BytesIO())
    elif kind == "zip":
        with zipfile.ZipFile(out, "w") as made:
            made.writestr("weights.caffemodel", b"x")
    elif kind == "pt":
        with zipfile.ZipFile(out, "w") as made:
            made.writestr("archive/data.pkl", b"x")
    else:
        np.savez(out, conv1_w=np.zeros(3))
    return out.getvalue()


def written(folder, name):
    layer = messages.LayerParameter(name="fc", type="InnerProduct")
    if name == "caffemodel":
        write_caffemodel(folder / "x", "net", [(layer, [np.ones((2, 3), np.float32)])])
    else:
        write_solverstate(folder / "x", 7, "snap_iter_7.caffemodel", [np.ones((2, 3), np.float32)], 0)
    return (folder / "x").read_bytes()


CONTENTS = {
    kinds.EMPTY: lambda _: b"",
    kinds.POINTER: lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    kinds.PAGE: lambda _: b"\n<!DOCTYPE html><html><body>Not found</body></html>",
    kinds.HDF5: lambda _: b"\x89HDF\r\n\x1a\n" + b"\0" * 90,
    kinds.CAFFEMODEL: lambda folder: written(folder, "caffemodel"),
    kinds.SOLVERSTATE: lambda folder: written(folder, "solverstate"),
    kinds.MEAN: lambda _: messages.BlobProto(num=1, channels=3, height=2, width=2, data=range(12)).SerializeToString(),
    kinds.ONNX: lambda _: model([tensor("w", np.ones((2, 2), np.float32))], [conv("w", "b")]),
    kinds.EMBEDDING: lambda folder: _embeddings(folder)[0],
    kinds.NPZ: lambda _: archive("npz"),
    kinds.PICKLE: lambda _: archive("pt"),
    kinds.PICTURE: lambda _: cv2.imencode(".png", np.zeros((3, 3, 3), np.uint8))[1].tobytes(),
    kinds.SOLVER: lambda _: SOLVER.encode(),
    kinds.DEPLOY: lambda _: DEPLOY.encode(),
    kinds.TRAIN_VAL: lambda _: TRAIN_VAL.encode(),
    kinds.MANIFEST: lambda folder: _manifests(folder)[0],
    kinds.JSON: lambda _: json.dumps({"a": 1}).encode(),
    kinds.LOG: lambda _: b"I0101 10:00:00.000000 1 caffe.cpp:1] Starting Optimization\n",
    kinds.TEXT: lambda _: b"a,b\n1,2\n",
}


@pytest.mark.parametrize("name", CONTENTS)
def test_each_kind(tmp_path, name):
    (tmp_path / "file").write_bytes(CONTENTS[name](tmp_path))
    found = kind_of(tmp_path / "file")
    assert found and found.name == name and found.words


@pytest.mark.parametrize("kind", ["tar", "zip", "gzip"])
def test_archives(tmp_path, kind):
    (tmp_path / "x").write_bytes(gzip.compress(b"weights") if kind == "gzip" else archive(kind))
    found = kind_of(tmp_path / "x")
    assert found and found.name == kinds.ARCHIVE and found.words == f"a {kind} archive (unpack it)"


def test_folders(tmp_path):
    assert kind_of(tmp_path / "nowhere").name == kinds.MISSING
    assert kind_of(tmp_path).words == "an empty folder"
    _write_lmdb(tmp_path / "pairs" / "train_lmdb") if (tmp_path / "pairs").mkdir() is None else None
    assert kind_of(tmp_path / "pairs/train_lmdb").name == kinds.LMDB
    assert kind_of(tmp_path / "pairs/train_lmdb/data.mdb").name == kinds.LMDB_DATA
    (tmp_path / "pairs/pairs.json").write_text("{}")
    assert kind_of(tmp_path / "pairs").name == kinds.STORE
    (tmp_path / "run.json").write_text("{}")
    assert kind_of(tmp_path).name == kinds.RUN
    assert instead(tmp_path, kinds.STORE) == f"the folder of a run; its pair store is {tmp_path / 'pairs'}"
    assert instead(tmp_path / "pairs", kinds.RUN) == f"a pair store; the run's folder is {tmp_path}"
    assert "train_lmdb is one" in instead(tmp_path, kinds.LMDB)


def test_a_file_cut_short_is_still_known(tmp_path):
    data = written(tmp_path, "caffemodel")
    (tmp_path / "cut").write_bytes(data[:-3])
    assert instead(tmp_path / "cut", kinds.CAFFEMODEL, "why") in ("why", "a caffemodel that breaks off (why)")
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    assert instead(tmp_path / "noise", kinds.CAFFEMODEL, "why") == "why"


def test_the_other_half_of_a_snapshot_is_named(tmp_path):
    for name in ("caffemodel", "solverstate"):
        (tmp_path / f"snap_iter_7.{name}").write_bytes(written(tmp_path, name))
    model, state = (tmp_path / f"snap_iter_7.{name}" for name in ("caffemodel", "solverstate"))
    assert instead(model, kinds.SOLVERSTATE) == (
        f"a caffemodel; --weights starts from it, --snapshot {state} goes on from it"
    )
    assert instead(state, kinds.CAFFEMODEL) == f"a solverstate; --snapshot goes on from it, its weights are {model}"
