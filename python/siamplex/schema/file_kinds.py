"""Recognises a file or folder by its content, for errors that say what was found in place of what was expected.

Files are neither trusted nor read in full: only the first bytes, a protobuf's outermost fields, the names in an
archive, a megabyte of text.  A file that is not recognised has no kind.
"""

from __future__ import annotations

import json
import mmap
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from siamplex.schema.wire import BYTES, FIXED32, VARINT, WireError, fields

MISSING, UNREADABLE, EMPTY = "missing", "unreadable", "empty"
CAFFEMODEL, SOLVERSTATE, MEAN, ONNX = "caffemodel", "solverstate", "mean file", "ONNX model"
SOLVER, NET, TRAIN_VAL, DEPLOY = "solver", "net", "train_val", "deploy"
LMDB, LEVELDB, LMDB_DATA = "LMDB", "LevelDB", "data.mdb"
STORE, RUN, FOLDER = "pair store", "run", "folder"
NPZ, EMBEDDING, MANIFEST, JSON = "npz", "embedding", "manifest", "JSON"
POINTER, PAGE, ARCHIVE, HDF5, PICTURE, PICKLE = "LFS pointer", "HTML", "archive", "HDF5 file", "picture", "pickle"
LOG, TEXT, WORKBOOK = "log", "text", "workbook"

_HEAD, _TEXT, _FIELDS, _MEMBERS = 4096, 1 << 20, 10_000, 10_000


@dataclass(frozen=True)
class FileKind:
    """A kind: its name (a constant of this module), and words that can follow ``found``."""

    name: str
    words: str


_ARCHIVES = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"Rar!", "a rar archive"),
)
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
)


def kind_of(path: str | Path) -> FileKind | None:
    """The kind of the file or folder at ``path``, or None if it is not known.  Raises nothing."""
    path = Path(path)
    try:
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            return FileKind(MISSING, "nothing there")
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
            if not head:
                return FileKind(EMPTY, "an empty file")
            if head.startswith(b"\x89HDF\r\n"):
                return _hdf5(path)
            found = _by_first_bytes(head) or (_zip(path) if head.startswith(b"PK\x03\x04") else None)
            if found:
                return found
            if _is_text(head):
                return kind_of_text(head + handle.read(_TEXT))
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as buffer:
                return _protobuf(buffer)
    except PermissionError:
        return FileKind(UNREADABLE, "a file that may not be read")
    except (OSError, ValueError):  # a zero byte, a circle of links; a file that shrinks meanwhile
        return None


def words_for(path: str | Path, otherwise: str) -> str:
    """The kind in words, or ``otherwise``."""
    found = kind_of(path)
    return found.words if found else otherwise


def _no_document(head: bytes) -> FileKind | None:
    """Text that stands in the place of a file."""
    start = head[:_HEAD].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return FileKind(POINTER, "a Git LFS pointer, which only names the file (git lfs pull fetches it)")
    if start.startswith((b"<!", b"<?xml", b"<html", b"<head", b"<body")):
        return FileKind(PAGE, "a page of HTML or XML, as a failed download leaves it")
    return None


def _by_first_bytes(head: bytes) -> FileKind | None:
    other = _no_document(head)
    if other:
        return other
    for magic, words in _ARCHIVES:
        if head.startswith(magic):
            return FileKind(ARCHIVE, f"{words} (unpack it)")
    if head[257:262] == b"ustar":
        return FileKind(ARCHIVE, "a tar archive (unpack it)")
    for magic, words in _PICTURES:
        if head.startswith(magic) and (magic != b"BM" or head[6:10] == b"\0\0\0\0"):
            return FileKind(PICTURE, words)
    if head.startswith(b"\x93NUMPY"):
        return FileKind(NPZ, "a single numpy array (.npy)")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return FileKind(PICKLE, "a pickle, which is never read")
    if head[16:20] == b"\xde\xc0\xef\xbe":
        return FileKind(LMDB_DATA, "the data file of an LMDB (its folder is the database)")
    return None


def _zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:_MEMBERS]
    except (OSError, ValueError, KeyError, NotImplementedError, RuntimeError, EOFError, OverflowError,
            zipfile.BadZipFile, zipfile.LargeZipFile):  # fmt: skip
        return FileKind(ARCHIVE, "a zip archive that is damaged")
    arrays = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
    if {"points", "subjects", "emotions", "facts"} <= set(arrays):
        return FileKind(EMBEDDING, "an embedding (siamplex extract)")
    if arrays:
        shown = ", ".join(arrays[:3]) + (", ..." if len(arrays) > 3 else "")
        return FileKind(NPZ, f"an npz archive ({shown})")
    if any(name.endswith("data.pkl") for name in names):
        return FileKind(PICKLE, "a PyTorch file, which is a pickle and never read")
    if any(name.startswith(("xl/", "content.xml")) for name in names):
        return FileKind(WORKBOOK, "a workbook (save it as CSV)")
    return FileKind(ARCHIVE, "a zip archive (unpack it)")


def _hdf5(path: Path) -> FileKind:
    """By the names in its root."""
    try:
        import h5py

        with h5py.File(path, "r", locking=False) as file:
            names = set(file)
            if {"iter", "history"} <= names:
                return FileKind(SOLVERSTATE, "a solverstate in HDF5")
            if "data" in names and names <= {"data", "diff"} and file.get("data", getclass=True) is h5py.Group:
                return FileKind(CAFFEMODEL, "a caffemodel in HDF5")
            return FileKind(HDF5, "an HDF5 file")
    except Exception:  # whatever a damaged one brings the library to say
        return FileKind(HDF5, "an HDF5 file that is damaged")


# --- folders


def _folder(path: Path) -> FileKind:
    names = {entry.name for entry in path.iterdir()}
    if "data.mdb" in names:
        return FileKind(LMDB, "an LMDB")
    if "CURRENT" in names and any(name.startswith("MANIFEST-") for name in names):
        return FileKind(LEVELDB, "a LevelDB")
    if "pairs.json" in names:
        return FileKind(STORE, "a pair store")
    if "run.json" in names or {"pairs", "prototxt", "solvers"} <= names:
        return FileKind(RUN, "the folder of a run")
    if not names:
        return FileKind(FOLDER, "an empty folder")
    return FileKind(FOLDER, "a folder")


# --- protobuf


def _protobuf(buffer: memoryview) -> FileKind | None:
    """By the outermost fields; a file that breaks off is judged by those before."""
    seen: set[tuple[int, int]] = set()
    whole = True
    try:
        for count, field in enumerate(fields(buffer, 0, len(buffer))):
            seen.add((field.number, field.kind))
            if count >= _FIELDS:
                break
    except WireError:
        whole = False
    made = _message(seen)
    if made is None or (not whole and len(seen) < 2):
        return None
    return FileKind(made[0], made[1] if whole else f"{made[1]} that breaks off")


def _message(seen: set[tuple[int, int]]) -> tuple[str, str] | None:
    if (1, VARINT) in seen and (7, BYTES) in seen and (5, BYTES) not in seen:
        return ONNX, "an ONNX model"
    doubles = (8, BYTES) in seen and {(7, BYTES), (2, VARINT)} & seen
    if (
        ({(5, BYTES), (5, FIXED32)} & seen or doubles)
        and (2, BYTES) not in seen
        and not {(3, BYTES), (100, BYTES)} & seen
    ):
        return MEAN, "a mean file"
    if len(seen) > 1 and (1, VARINT) in seen and seen <= {(1, VARINT), (2, BYTES), (3, BYTES), (4, VARINT)}:
        return SOLVERSTATE, "a solverstate"
    if (1, VARINT) not in seen and {(2, BYTES), (100, BYTES)} & seen:
        return CAFFEMODEL, "a caffemodel"
    return None


# --- text


def _is_text(head: bytes) -> bool:
    """Whether there are no control characters, whatever the encoding; protobufs always begin with some."""
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


_SETTINGS = re.compile(r"^\s*(?:base_lr|lr_policy|max_iter|snapshot_prefix|test_iter|test_interval)\s*:", re.M)
_LAYER = re.compile(r"^\s*(?:layers?\s*:?\s*\{|input\s*:|input_dim\s*:|input_shape\s*:?\s*\{)", re.M)
_INPUT = re.compile(r"^\s*input\s*:|\btype\s*:\s*[\"']Input[\"']", re.M)
_DATA = re.compile(
    r"\btype\s*:\s*(?:[\"'](?:\w*Data)[\"']|(?:DATA|HDF5_DATA|IMAGE_DATA|MEMORY_DATA|WINDOW_DATA|DUMMY_DATA)\b)"
)
_LOG_LINE = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d", re.M)


def kind_of_text(data: bytes) -> FileKind:
    """The kind of a text, by its beginning: a prototxt by its fields, JSON by its keys."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    other = _no_document(data)
    if other:
        return other
    bare = re.sub(r"#[^\n]*", "", text)
    if not bare.strip():
        return FileKind(EMPTY, "an empty file" if not text.strip() else "a file of comments alone")
    if bare.lstrip().startswith("{"):
        return _json(text)
    if _SETTINGS.search(bare):
        return FileKind(SOLVER, "a solver prototxt")
    if _LAYER.search(bare):
        if _DATA.search(bare):
            return FileKind(TRAIN_VAL, "a train_val prototxt (a net with data layers)")
        if _INPUT.search(bare):
            return FileKind(DEPLOY, "a deploy prototxt (a net with an input)")
        return FileKind(NET, "a net prototxt")
    if _LOG_LINE.search(text):
        return FileKind(LOG, "a log of Caffe")
    return FileKind(TEXT, "a text file")


_KEYS: tuple[tuple[str, Callable[[set[str]], bool], str], ...] = (
    (MANIFEST, lambda keys: {"caffemodel", "solverstate"} <= keys, "a snapshot's manifest"),
    (JSON, lambda keys: {"options", "lmdbs"} <= keys, "the description of a pair store (pairs.json)"),
    (JSON, lambda keys: {"format", "steps"} <= keys, "a run record (run.json)"),
)


def _json(text: str) -> FileKind:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return FileKind(TEXT, "a text file")
    keys = set(content) if isinstance(content, dict) else set()
    found = next(((name, words) for name, holds, words in _KEYS if holds(keys)), (JSON, "a JSON file"))
    return FileKind(*found)
