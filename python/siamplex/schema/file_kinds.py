"""What a file is, by its content: so that a wrong one is called by its name, with what to give instead."""

from __future__ import annotations

import mmap
import re
import zipfile
from pathlib import Path

from siamplex.schema.wire import BYTES, VARINT, WireError, fields

CAFFEMODEL, SOLVERSTATE, MEAN, ONNX = "a caffemodel", "a solverstate", "a mean file", "an ONNX model"
NET, SOLVER = "a net's prototxt", "a solver's prototxt"
NPZ, EMBEDDING, JSON = "an .npz archive", "an embedding (.npz of siamplex extract)", "a JSON file"
LMDB, LEVELDB, STORE, RUN, FOLDER = "an LMDB", "a LevelDB", "a pair store", "the folder of a run", "a folder"

_HEAD = 4096
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive (unpack it)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"BM", "a BMP image"),
    (b"%PDF", "a PDF"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (git lfs pull fetches it)"),
)
_HINTS = {
    (SOLVERSTATE, CAFFEMODEL): "--weights starts from it",
    (CAFFEMODEL, SOLVERSTATE): "--snapshot resumes from it",
    (CAFFEMODEL, ONNX): "siamplex weights --alexnet takes AlexNet's",
    (CAFFEMODEL, NPZ): "siamplex weights --alexnet takes AlexNet's",
    (NET, SOLVER): "the net is the file it names",
    (SOLVER, NET): "its solver is in the run's folder solvers/",
    (LEVELDB, LMDB): "say backend: LMDB; Caffe's default is LEVELDB",
    (LMDB, LEVELDB): "say backend: LEVELDB",
    (STORE, RUN): "its folder pairs/ is one",
    (EMBEDDING, CAFFEMODEL): "siamplex extract makes an embedding of it",
}


def kind_of(path: Path) -> str | None:
    """What a file or folder is, None where it cannot be told.  Reads little of it, and raises nothing."""
    try:
        if path.is_dir():
            return _folder(path)
        if not path.is_file():
            return None
        if path.stat().st_size == 0:
            return "an empty file"
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
            return _by_head(path, head) or _by_fields(handle.fileno())
    except Exception:  # a damaged archive, say: it is nothing that can be told
        return None


def instead(path: Path, wanted: str) -> str | None:
    """What ``path`` is and what to do about it, where that is something else than the ``wanted`` kind; else None."""
    kind = kind_of(path)
    if kind is None or kind == wanted:
        return None
    hint = _HINTS.get((wanted, kind), "")
    if (wanted, kind) == (SOLVERSTATE, CAFFEMODEL) and (beside := path.with_suffix(".solverstate")).exists():
        hint = f"--weights starts from it, --snapshot {beside} resumes"
    return f"{kind} ({hint})" if hint else kind


def text_kind(text: str) -> str | None:
    """Whether prototxt text is a net or a solver, by the fields at its outermost level."""
    plain = re.sub(r'#[^\n]*|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'', " ", text)
    depth, outer = 0, []
    for token in re.findall(r"\w+|[{}<>]", plain):
        depth += (token in "{<") - (token in "}>")
        if depth == 0 or (depth == 1 and token in "{<"):
            outer.append(token)
    if {"base_lr", "lr_policy", "max_iter", "train_net", "snapshot_prefix"} & set(outer):
        return SOLVER
    return NET if {"layer", "layers", "input_dim", "input_shape"} & set(outer) else None


def _folder(path: Path) -> str:
    if (path / "data.mdb").exists():
        return LMDB
    if (path / "CURRENT").exists():
        return LEVELDB
    if (path / "pairs.json").exists():
        return STORE
    return RUN if (path / "pairs" / "pairs.json").exists() else FOLDER


def _by_head(path: Path, head: bytes) -> str | None:
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
        if {"points.npy", "emotions.npy"} <= names:
            return EMBEDDING
        return NPZ if all(name.endswith(".npy") for name in names) else "a zip archive (unpack it)"
    if head[257:262] == b"ustar":
        return "a tar archive (unpack it)"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return None
    start = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if start.startswith(("<!doctype html", "<html", "<?xml")):
        return "a web page (a failed download?)"
    if start.startswith("{") and re.match(r'\{\s*(?:"|\})', start):
        return JSON
    return text_kind(text)


def _by_fields(file: int) -> str | None:
    """By the outermost fields of a protobuf message."""
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as buffer:
        found: set[tuple[int, int]] = set()
        try:
            for field in fields(buffer, 0, len(buffer)):
                found.add((field.number, field.kind))
        except WireError:
            return None
    if (100, BYTES) in found:
        return CAFFEMODEL
    if (1, VARINT) in found and (7, BYTES) in found:
        return ONNX
    if (1, VARINT) in found and (2, BYTES) in found and {number for number, _ in found} <= {1, 2, 3, 4}:
        return SOLVERSTATE
    if (5, BYTES) in found and {number for number, _ in found} <= {1, 2, 3, 4, 5, 7}:
        return MEAN
    return CAFFEMODEL if (2, BYTES) in found else None
