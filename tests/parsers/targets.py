"""What reads files from others: for each parser some valid files, and how to read one.

Shared by the tests, which try some hundred mutations of each, and by ``tools/fuzz.py``, which tries
ten thousand and more.  A parser may accept a file or raise a SiamplexError of one line; nothing else.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import lmdb
import numpy as np
from hypothesis import strategies as st

from siamplex.corpus_index import COLUMNS, index_table, read_index
from siamplex.embedding import read_embedding
from siamplex.engine import limits
from siamplex.engine.data_source import DataSource
from siamplex.engine.learning_table import COLUMNS as LEARNING_COLUMNS
from siamplex.engine.learning_table import read_learning
from siamplex.engine.loss_log import read_losses, read_tests
from siamplex.engine.net import Net
from siamplex.engine.result import Result
from siamplex.engine.snapshot import Manifest
from siamplex.engine.solver_file import SolverFile
from siamplex.errors import InputError, SiamplexError
from siamplex.images import read_picture
from siamplex.pairs.build import open_store
from siamplex.pairs.split import read_split
from siamplex.record import read_record
from siamplex.schema import file_kinds, messages, prototxt
from siamplex.schema.datum import DatumError, decode, encode
from siamplex.schema.instead import instead
from siamplex.schema.weights import (
    read_caffemodel,
    read_mean_file,
    read_solverstate,
    write_caffemodel,
    write_solverstate,
)
from siamplex.similarity.human import read_human
from siamplex.similarity.matching import match
from siamplex.similarity.matrices import read_judgements
from siamplex.similarity.picture_table import PictureTable
from siamplex.similarity.responses import responses_of
from siamplex.weights import convolution_files
from siamplex.weights.fingerprint import fingerprint
from tests.onnx_bytes import conv, model, tensor

ROOT = Path(__file__).resolve().parents[2]
STREAM = np.random.default_rng(0)


@dataclass(frozen=True)
class Target:
    """A parser: ``seeds(folder)`` gives valid files, ``read(data, folder)`` reads one from a folder of its own."""

    name: str
    seeds: Callable[[Path], list[bytes]]
    read: Callable[[bytes, Path], Any]


# --- weights


def _layers() -> list[tuple[Any, list[Any]]]:
    layer = messages.LayerParameter(name="fc", type="InnerProduct")
    return [(layer, [np.ones((3, 4), np.float32), np.ones(3, np.float32)])]


def _caffemodels(folder: Path) -> list[bytes]:
    write_caffemodel(folder / "m.caffemodel", "net", _layers())
    blob = messages.BlobProto(num=1, channels=2, height=1, width=3, data=range(6))
    unpacked = b"".join(b"\x2d" + np.float32(i).tobytes() for i in range(4)) + b"\x08\x01\x10\x01\x18\x01\x20\x04"
    inner = b"\x22\x05conv1\x32" + bytes([len(unpacked)]) + unpacked
    old = b"\x0a\x01n\x12" + bytes([len(inner)]) + inner
    held = messages.NetParameter(name="n")
    held.layer.add(name="conv1", type="Convolution").blobs.append(blob)
    return [(folder / "m.caffemodel").read_bytes(), old, held.SerializeToString()]


def _solverstates(folder: Path) -> list[bytes]:
    write_solverstate(folder / "s.solverstate", 7, "m.caffemodel", [np.ones((2, 3), np.float32)], 1)
    return [(folder / "s.solverstate").read_bytes()]


def _means(folder: Path) -> list[bytes]:
    return [messages.BlobProto(num=1, channels=3, height=2, width=2, data=range(12)).SerializeToString()]


def _read_as(read: Callable[[Path], Any], name: str) -> Callable[[bytes, Path], Any]:
    def run(data: bytes, folder: Path) -> Any:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return run


def _convolutions(folder: Path) -> list[bytes]:
    """conv1-3 of few and constant values: an ONNX model and npz archives, of AlexNet's shapes made small."""
    arrays: dict[str, Any] = {
        f"{n}_{x}": np.ones(s if x == "w" else s[0], np.float32) for n, s in _SMALL.items() for x in "wb"
    }
    tensors = [tensor(f"{n}_0", a.astype(np.float16) if n == "conv2_w" else a) for n, a in arrays.items()]
    seeds = [model(tensors, [conv(f"{n}_w_0", f"{n}_b_0") for n in _SMALL])]
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, **arrays)
        seeds.append(out.getvalue())
    return seeds


_SMALL = {"conv1": (4, 3, 3, 3), "conv2": (4, 2, 3, 3), "conv3": (6, 4, 2, 2)}


def _read_convolutions(path: Path) -> None:
    """As AlexNet's are read, but for the shapes."""
    with mock.patch.multiple(convolution_files, SHAPES=_SMALL, _UNGROUPED={"conv2": (4, 4, 3, 3)}, _NPZ_BYTES=1 << 20):
        fingerprint(convolution_files.read_convolutions(path))


# --- prototxt

_NET = """name: "n" layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c" param { name: "w" lr_mult: 1 decay_mult: 1 }
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 1 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.1 } }
layer { name: "l" type: "LRN" bottom: "c" top: "l" lrn_param { local_size: 3 alpha: 0.0001 beta: 0.75 } }
layer { name: "p" type: "Pooling" bottom: "l" top: "p" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "s" type: "Slice" bottom: "p" top: "a" top: "b" slice_param { axis: 1 slice_point: 2 } }
layer { name: "k" type: "Concat" bottom: "a" bottom: "b" top: "k" concat_param { axis: 1 } }
layer { name: "f" type: "Flatten" bottom: "k" top: "f" flatten_param { axis: 1 } }
layer { name: "o" type: "Dropout" bottom: "f" top: "f" dropout_param { dropout_ratio: 0.5 } }
layer { name: "i" type: "InnerProduct" bottom: "f" top: "i" inner_product_param { num_output: 5
  weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" value: 1 } } }
layer { name: "x" type: "Reshape" bottom: "i" top: "x" reshape_param { shape { dim: 0 dim: -1 } } }
layer { name: "m" type: "Softmax" bottom: "x" top: "m" }
"""
_TWINS = """name: "t" layer { name: "d" type: "Input" top: "d" top: "y" input_param { shape { dim: 2 dim: 2 }
  shape { dim: 2 } } }
layer { name: "s" type: "Slice" bottom: "d" top: "a" top: "b" }
layer { name: "e" type: "Embed" bottom: "a" top: "e" param { name: "w" } embed_param { num_output: 2 input_dim: 9 } }
layer { name: "g" type: "Embed" bottom: "b" top: "g" param { name: "w" } embed_param { num_output: 2 input_dim: 9 } }
layer { name: "u" type: "Reshape" bottom: "e" top: "u" reshape_param { shape { dim: 2 dim: 2 } } }
layer { name: "v" type: "Reshape" bottom: "g" top: "v" reshape_param { shape { dim: 2 dim: 2 } } }
layer { name: "q" type: "ContrastiveLoss" bottom: "u" bottom: "v" bottom: "y" top: "q"
  contrastive_loss_param { margin: 1 legacy_version: false } loss_weight: 1 include { phase: TEST } }
"""
_DATA = """layer { name: "d" type: "Data" top: "d" top: "y"
  data_param { source: "pairs_lmdb" batch_size: 2 backend: LMDB }
  transform_param { scale: 0.5 mean_value: 1 crop_size: 3 mirror: true } }
layer { name: "i" type: "InnerProduct" bottom: "d" top: "i" inner_product_param { num_output: 3 } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "i" bottom: "y" top: "l" }
"""
_WILD = """input: "d" input: "y" input_shape { dim: 2 dim: 4 dim: 6 dim: 6 } input_shape { dim: 2 }
layer { name: "b" type: "BatchNorm" bottom: "d" top: "b" param { lr_mult: 0 } batch_norm_param { eps: 0.1 } }
layer { name: "s" type: "Scale" bottom: "b" top: "b" scale_param { axis: 1 num_axes: 1 bias_term: true } }
layer { name: "i" type: "Bias" bottom: "b" top: "b" bias_param { axis: 1 num_axes: 2 } }
layer { name: "p" type: "PReLU" bottom: "b" top: "b" prelu_param { channel_shared: true } }
layer { name: "m" type: "MVN" bottom: "b" top: "m" mvn_param { across_channels: true eps: 0.1 } }
layer { name: "r" type: "ReLU" bottom: "m" top: "m" }
layer { name: "e" type: "Eltwise" bottom: "b" bottom: "m" top: "e" eltwise_param { operation: SUM coeff: 1 coeff: -1 } }
layer { name: "u" type: "Deconvolution" bottom: "e" top: "u" convolution_param { num_output: 4 kernel_size: 3 stride: 2
  pad: 1 group: 2 dilation: 1 } }
layer { name: "c" type: "Crop" bottom: "u" bottom: "d" top: "c" crop_param { axis: 2 offset: 1 offset: 2 } }
layer { name: "x" type: "Im2col" bottom: "c" top: "x" convolution_param { kernel_h: 2 kernel_w: 3 pad: 1 stride: 2 } }
layer { name: "q" type: "SPP" bottom: "c" top: "q" spp_param { pyramid_height: 2 pool: AVE } }
layer { name: "t" type: "Tile" bottom: "q" top: "t" tile_param { axis: 1 tiles: 3 } }
layer { name: "n" type: "Normalize" bottom: "t" top: "n" norm_param { across_spatial: false channel_shared: false } }
layer { name: "w" type: "Power" bottom: "n" top: "w" power_param { power: 2 scale: 0.5 shift: 1 } }
layer { name: "a" type: "ArgMax" bottom: "w" top: "a" argmax_param { top_k: 2 axis: 1 out_max_val: true } }
layer { name: "z" type: "Reduction" bottom: "w" top: "z" reduction_param { operation: ASUM axis: 1 coeff: 2 } }
layer { name: "g" type: "DummyData" top: "g" dummy_data_param { shape { dim: 2 dim: 60 } data_filler { value: 1 } } }
layer { name: "l" type: "EuclideanLoss" bottom: "w" bottom: "g" top: "l" loss_weight: 0.5 propagate_down: true
  propagate_down: false }
layer { name: "h" type: "HingeLoss" bottom: "w" bottom: "y" hinge_loss_param { norm: L2 } }
layer { name: "k" type: "Parameter" top: "k" parameter_param { shape { dim: 3 } } param { name: "k" } }
layer { name: "v" type: "Silence" bottom: "a" bottom: "x" bottom: "z" bottom: "k" }
"""
_V1 = """name: "v1" layers { name: "d" type: DATA top: "d" top: "y" include { phase: TRAIN }
  data_param { source: "pairs_lmdb" batch_size: 2 backend: LMDB scale: 0.5 crop_size: 3 mirror: true } }
layers { name: "d" type: DUMMY_DATA top: "d" top: "y" include { phase: TEST } dummy_data_param { num: 2 channels: 3
  height: 3 width: 3 } }
layers { name: "c" type: CONVOLUTION bottom: "d" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  param: "w" param: "b" blob_share_mode: PERMISSIVE convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "t" type: TANH bottom: "c" top: "c" }
layers { name: "l" type: EUCLIDEAN_LOSS bottom: "c" bottom: "c" top: "l" loss_weight: 0.3 }
"""
_V0 = """input: "x" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "x" top: "padded" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 5 stride: 2 blobs_lr: 1 weight_decay: 0.5 }
  bottom: "padded" top: "c" }
layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "c" top: "p" }
layers { layer { name: "n" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 } bottom: "p" top: "n" }
layers { layer { name: "f" type: "innerproduct" num_output: 7 biasterm: false } bottom: "n" top: "f" }
layers { layer { name: "o" type: "dropout" dropout_ratio: 0.25 } bottom: "f" top: "f" }
layers { layer { name: "k" type: "concat" concat_dim: 0 } bottom: "f" bottom: "f" top: "k" }
"""
_SOLVER = """net: "net.prototxt" base_lr: 0.05 lr_policy: "step" gamma: 0.5 stepsize: 4 momentum: 0.9 weight_decay: 0.01
max_iter: 12 display: 1 snapshot: 6 snapshot_prefix: "snap" random_seed: 3 test_iter: 2 test_interval: 4
stepvalue: 3 stepvalue: 5 iter_size: 2 average_loss: 2 solver_mode: CPU type: "SGD" weights: "w.caffemodel"
"""
_FIELDS = (
    b"num_output",
    b"kernel_size",
    b"dim",
    b"batch_size",
    b"input_dim",
    b"local_size",
    b"slice_point",
    b"stride",
    b"tiles",
    b"pyramid_height",
    b"offset",
    b"num_axes",
    b"axis",
    b"top_k",
    b"kernelsize",
    b"channels",
)


def _nets(folder: Path) -> list[bytes]:
    return [text.encode() for text in (_NET, _TWINS, _DATA, _WILD, _V1, _V0)]


def _build(data: bytes, folder: Path) -> None:
    """Set a net up, as far as the first forward pass would begin."""
    path = folder / "net.prototxt"
    path.write_bytes(data)
    if not (folder / "pairs_lmdb").exists():
        _write_lmdb(folder / "pairs_lmdb")
    source = prototxt.read(path, "NetParameter")
    for phase in ("TRAIN", "TEST"):
        Net(source, phase)


def _solve(data: bytes, folder: Path) -> None:
    path = folder / "solver.prototxt"
    path.write_bytes(data)
    (folder / "net.prototxt").write_text(_NET)
    (folder / "w.caffemodel").touch()
    solver = SolverFile(path)
    list(solver.nets())
    _ = solver.prefix, solver.weight_files()


# --- samples


def _write_lmdb(folder: Path, count: int = 3, size: int = 6) -> None:
    stream = np.random.default_rng(1)
    with lmdb.open(str(folder), map_size=1 << 22) as env, env.begin(write=True) as txn:
        for i in range(count):
            txn.put(b"%08d" % i, encode(stream.integers(0, 255, (2, size, size), np.uint8), i % 2))


def _datums(folder: Path) -> list[bytes]:
    values = STREAM.integers(0, 255, (3, 4, 4), np.uint8)
    png = cv2.imencode(".png", values.transpose(1, 2, 0))[1].tobytes()
    packed = messages.Datum(encoded=True, data=png, label=1).SerializeToString()
    clear = cv2.imencode(".png", STREAM.integers(0, 255, (4, 4, 4), np.uint8))[1].tobytes()
    grey = cv2.imencode(".jpg", values[0])[1].tobytes()
    others = [messages.Datum(encoded=True, data=data).SerializeToString() for data in (clear, grey)]
    return [encode(values, 3), encode(values.astype(np.float32), -1), packed, *others]


def _decode(data: bytes, folder: Path) -> None:
    try:
        for mode in ("color", "gray", "native"):
            decode(data, mode)
    except DatumError as error:
        raise InputError("datum", "a Datum", str(error)) from None


def _lmdbs(folder: Path) -> list[bytes]:
    seeds = []
    for name, count, size in (("a", 3, 6), ("b", 2, 60), ("c", 400, 3)):  # in a leaf, beside it, below branches
        _write_lmdb(folder / name, count, size)
        seeds.append((folder / name / "data.mdb").read_bytes())
    return seeds


def _read_lmdb(data: bytes, folder: Path) -> None:
    target = folder / "l_lmdb"
    target.mkdir(exist_ok=True)
    (target / "data.mdb").unlink(missing_ok=True)
    (target / "data.mdb").write_bytes(data)
    source = DataSource(target)
    source.fingerprint()
    for _ in range(3):
        source.batch(min(source.entries, 50))


def _pictures(folder: Path) -> list[bytes]:
    picture = STREAM.integers(0, 255, (9, 7, 3), np.uint8)
    seeds = [cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".bmp", ".png", ".jpg")]
    seeds.append(cv2.imencode(".png", picture.astype(np.uint16) * 257)[1].tobytes())
    seeds.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    return seeds


_OTHERS = (".tif", ".webp", ".gif", ".jp2", ".avif", ".ppm", ".pam", ".ras")


def _other_pictures(folder: Path) -> list[bytes]:
    """Of the formats that not every OpenCV writes, those that this one does; some of them in two ways."""
    picture = cv2.resize(STREAM.integers(0, 255, (9, 7, 3), np.uint8), (64, 64))
    seeds = [b"P2\n# grey\n2 2\n255\n1 2\n3 4\n", b"P4\n9 2\n" + bytes(4)]
    for suffix in _OTHERS:
        for image in (picture, np.dstack([picture, picture[:, :, :1] | 255]), picture.astype(np.uint16) * 257):
            try:
                written, data = cv2.imencode(suffix, image)
            except cv2.error:
                continue
            if written and cv2.imdecode(data, cv2.IMREAD_COLOR) is not None:
                seeds.append(data.tobytes())
    return seeds


# --- tables


def _indices(folder: Path) -> list[bytes]:
    rows = "a,faces/a.png,01F,AN,0,00\nb,faces/b.png,02M,HA,1,11\n"
    return [(",".join(COLUMNS) + "\n" + rows).encode()]


def _corpora(folder: Path) -> list[bytes]:
    cv2.imwrite(str(folder / "a.png"), STREAM.integers(0, 255, (9, 7, 3), np.uint8))
    german = "sep=;\r\nDatei;Person;Gefühl;\r\n\r\n.\\a.png;Jörg;Wut;\r\n;;;\r\n"
    return [
        b"path,subject,emotion\na.png,s1,happy\n",
        b'"path","subject","emotion"\r\n"a.png","s 1","AN"\r\n',
        german.encode("cp1252"),
        german.encode("utf-8-sig"),
        german[7:].replace(";", "\t").encode("utf-16"),
        b"path,subject,emotion\nC:\\faces\\a.png,s1,happy\n",
    ]


def _read_corpus(data: bytes, folder: Path) -> None:
    if not (folder / "a.png").exists():
        _corpora(folder)
    _read_as(index_table, "faces.csv")(data, folder)


def _matrices(folder: Path) -> list[bytes]:
    german = ";AN;HA;SP;\nAN;0;0,19;1;\n;;;;\nHA;0,19;0;0,5;\nSP;1;5E-01;0;\n"
    plain = b"x,AN,HA,SP\nAN,9,1,2\nHA,0,9,1\nSP,3,0,9\n"
    return [plain, german.encode("cp1252"), german.replace(";", "\t").encode("utf-16"), b"sep=;\n" + german.encode()]


def _judged(folder: Path) -> list[bytes]:
    """Tables of pictures, long and wide, as several programs save them."""
    long = b"image,response,rater\na.png,happy,1\na.png,,2\nb.png,AN,1\n"
    wide = "Bild;Beurteiler;Freude;\u00c4rger;Ekel\na.png;x;0,5;0,25;0,25\nb.png;y;1;5E-01;0\n"
    return [long, wide.encode("cp1252"), wide.replace(";", "\t").encode("utf-16"), b"sep=;\n" + wide.encode()]


def _read_judged(path: Path) -> None:
    """Read a table and find its pictures."""
    found = read_human(path)
    if isinstance(found, PictureTable):
        responses_of(found, match(found.pictures, path, ["a", "b"]), 2).totals()


def _read_split(data: bytes, folder: Path) -> None:
    (folder / "index.csv").write_bytes(_indices(folder)[0])
    _read_as(lambda path: read_split(path, read_index(folder / "index.csv")), "split.csv")(data, folder)


# --- descriptions


def _manifests(folder: Path) -> list[bytes]:
    content = {
        "iteration": 6, "seed": 3, "caffemodel": {"name": "a", "size": 3, "sha256": "00"},
        "solverstate": {"name": "b", "size": 3, "sha256": "00"}, "cursors": {"train:pair": 4}, "weights": [],
        "origin": {"seed": "3"}, "note": "", "lean": False, "growths": [[0, "pair", 4]], "in_full": False, "gram": None,
        "shown": {"start": 0, "last": [0.5], "value": 0.5}, "format": 1,
    }  # fmt: skip
    return [json.dumps(content).encode()]


def _learnings(folder: Path) -> list[bytes]:
    rows = "0,0.28,0.28,0.3,0.3,0.6,959,1024\n250,0.2,0.25,,,,948,1024\n"
    return [f"{','.join(LEARNING_COLUMNS)},fc4_active,fc4_units\n{rows}".encode()]


def _results(folder: Path) -> list[bytes]:
    Result(6, "snap_iter_6.caffemodel", 8, "validation", (6, 0.25), 4, "3f").write(str(folder / "snap"))
    return [(folder / "snap_result.json").read_bytes()]


def _stores(folder: Path) -> list[bytes]:
    content = {
        "options": {"layout": "indexed", "size": 9, "mean": [1, 2, 3], "resize": "stretch"}, "images": 2,
        "synthetic": False, "lmdbs": {"train": {"path": "train_indexed_lmdb", "pairs": 1}}, "label": "1 = same",
        "table": {"path": "images.caffemodel"}, "format": 1,
    }  # fmt: skip
    return [json.dumps(content).encode()]


def _read_store(data: bytes, folder: Path) -> None:
    (folder / "index.csv").write_bytes(_indices(folder)[0])
    (folder / "split.csv").write_text("subject,split\n01F,train\n02M,val\n")
    (folder / "pairs.json").write_bytes(data)
    open_store(folder)


def _records(folder: Path) -> list[bytes]:
    return [json.dumps({"format": 1, "steps": [{"command": "train", "options": {"seed": 1}}]}).encode()]


def _read_record(data: bytes, folder: Path) -> None:
    (folder / "run.json").write_bytes(data)
    read_record(folder)


def _embeddings(folder: Path) -> list[bytes]:
    out = io.BytesIO()
    names = np.array(["a", "b"])
    np.savez(
        out, points=np.zeros((2, 2), np.float32), images=names, subjects=names, emotions=np.array(["AN", "HA"]),
        splits=np.array(["train", "val"]), facts=np.array(json.dumps({"notes": []})),
    )  # fmt: skip
    return [out.getvalue()]


def _any(folder: Path) -> list[bytes]:
    """One of each kind that is told by content."""
    seeds = [
        _caffemodels(folder)[0],
        _solverstates(folder)[0],
        *_means(folder),
        *_embeddings(folder),
        *_manifests(folder),
    ]
    return [*seeds, _NET.encode(), _SOLVER.encode(), model([tensor("w", np.ones((2, 2), np.float32))], [])]


def _recognise(path: Path) -> None:
    """What a file is: whatever is in it, words of one line and no exception."""
    for wanted in (file_kinds.CAFFEMODEL, file_kinds.SOLVERSTATE, file_kinds.SOLVER, file_kinds.STORE):
        assert "\n" not in instead(path, wanted, "something else")


TARGETS = {
    target.name: target
    for target in (
        Target("caffemodel", _caffemodels, _read_as(read_caffemodel, "m.caffemodel")),
        Target("conv1-3", _convolutions, _read_as(_read_convolutions, "weights")),
        Target("solverstate", _solverstates, _read_as(read_solverstate, "s.solverstate")),
        Target("mean file", _means, _read_as(read_mean_file, "mean.binaryproto")),
        Target("net prototxt", _nets, _build),
        Target("solver prototxt", lambda folder: [_SOLVER.encode()], _solve),
        Target("Datum", _datums, _decode),
        Target("LMDB", _lmdbs, _read_lmdb),
        Target("image", _pictures, _read_as(read_picture, "face.png")),
        Target("other images", _other_pictures, _read_as(read_picture, "face.png")),
        Target("corpus CSV", _corpora, _read_corpus),
        Target("index CSV", _indices, _read_as(read_index, "index.csv")),
        Target("split CSV", lambda folder: [b"subject,split\n01F,train\n02M,val\n",
                                            b"Person;Set\r\n1F;Train\r\n2M;val\r\n"], _read_split),
        Target("matrix CSV", _matrices, _read_as(read_judgements, "matrix.csv")),
        Target("judged pictures CSV", _judged, _read_as(_read_judged, "people.csv")),
        Target("losses CSV", lambda folder: [b"iteration,loss,lr\n0,0.5,0.1\n1,0.25,\n",
                                             b"iteration;loss;lr\r\n0;0,5;1E-04\r\n1;0,2\r\n"],
               _read_as(read_losses, "l_losses.csv")),
        Target("tests CSV", lambda folder: [b"iteration,net,output,value\n0,0,loss,0.5\n250,0,loss,0.25\n"],
               _read_as(read_tests, "l_test.csv")),
        Target("learning CSV", _learnings, _read_as(read_learning, "l_learning.csv")),
        Target("result", _results, _read_as(lambda path: Result.read(path.with_name("snap")), "snap_result.json")),
        Target("snapshot manifest", _manifests, _read_as(Manifest.read, "snap_iter_6.json")),
        Target("pair store", _stores, _read_store),
        Target("run record", _records, _read_record),
        Target("any file", _any, _read_as(_recognise, "given")),
        Target("embedding", _embeddings, _read_as(read_embedding, "e.npz")),
    )
}  # fmt: skip


# --- mutations

_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1]
_VARINTS = [b"\x80" * 9 + b"\x01", b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x07", b"\x80\x80\x80\x80\x08"]
_TEXT = [
    *(
        b"-1",
        b"0",
        b"4294967295",
        b"999999999",
        b"1e39",
        b"nan",
        b"inf",
        b"true",
        b"null",
        b"\n",
        b"\0",
        b"\xff",
        b"\xc3",
    ),
    *(b"'", b'"', b"{", b"}", b"<", b"[", b"]", b",", b"#", b":", b"{" * 300, b"[" * 3000, b"../../", b"a{" * 500),
]
_OPERATIONS = ("byte", "number", "wide", "insert", "varint", "text", "delete", "cut", "repeat", "splice")


def mutations(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Files near the valid ones: a few changes at places that hold something."""
    places = [[i for i, byte in enumerate(seed) if byte] or [0] for seed in seeds]
    change = st.tuples(st.sampled_from(_OPERATIONS), st.integers(0, 2**16), st.integers(0, 2**16))

    def apply(which: int, changes: list[tuple[str, int, int]]) -> bytes:
        data = bytearray(seeds[which])
        for operation, where, what in changes:
            at = min(places[which][where % len(places[which])], max(len(data) - 1, 0))
            _change(data, operation, at, what, seeds)
        return _mend(bytes(data)) if changes and changes[0][2] % 2 else bytes(data)

    return st.builds(apply, st.integers(0, len(seeds) - 1), st.lists(change, min_size=1, max_size=4))


def _change(data: bytearray, operation: str, at: int, what: int, seeds: Sequence[bytes]) -> None:
    if operation == "byte" and data:
        data[at] = what % 256
    elif operation in ("number", "wide"):
        width = 4 if operation == "number" else 8
        number = _NUMBERS[what % len(_NUMBERS)] % 2 ** (8 * width)
        data[at : at + width] = number.to_bytes(width, "big" if what // 16 % 2 else "little")
    elif operation == "insert":
        data[at:at] = bytes(what % 256 for _ in range(what % 9))
    elif operation == "varint":
        data[at:at] = _VARINTS[what % len(_VARINTS)]
    elif operation == "text":
        token = _TEXT[what % len(_TEXT)]
        end = at
        while what % 3 and end < len(data) and bytes(data[end : end + 1]).isalnum():
            end += 1
        data[at:end] = token
    elif operation == "delete":
        del data[at : at + what % 17]
    elif operation == "cut":
        del data[at:]
    elif operation == "repeat":
        data[at:at] = data[at : at + what % 64] * (what % 5)
    elif operation == "splice":
        other = seeds[what % len(seeds)]
        data[at:] = other[what % (len(other) + 1) :]


def _mend(data: bytes) -> bytes:
    """Put a PNG's checksums right again, so that what lies behind them is reached."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        length = int.from_bytes(out[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(bytes(out[at + 4 : end])).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


def attempt(target: Target, data: bytes, folder: Path) -> bool:
    """Read ``data``; True where it was accepted, False where it was refused in one line."""
    try:
        target.read(data, folder)
    except SiamplexError as error:
        if "\n" in str(error) or not str(error):
            raise AssertionError(f"a refusal of several lines: {error!r}") from error
        return False
    return True


def small_memory(monkeypatched: Callable[[Any, str, Any], None]) -> None:
    """Let nets think that the machine has 64 MiB, so that one that asks for more is refused early."""
    monkeypatched(limits, "memory_of", lambda device: 64 << 20)
