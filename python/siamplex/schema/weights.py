"""Caffemodel and solverstate files, as Caffe reads and writes them, in binaryproto or HDF5.

A shared array is written once, in the layer that owns it.  Caffe loads the owner and its twin shares the array; files
are half as large as Caffe's own.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.run.durable import HashingWriter, atomic_file
from siamplex.schema import hdf5_weights, messages
from siamplex.schema.blobs import Array, blob_frame, blob_parts, blob_size, read_blob
from siamplex.schema.hdf5_files import is_hdf5
from siamplex.schema.hdf5_weights import StoredLayer
from siamplex.schema.instead import instead
from siamplex.schema.wire import BYTES, VARINT, Field, WireError, fields, key, prefix, varint

# NetParameter: layer 100; older files: layers 2, in the two older forms (V1 and V0)
_LAYER, _OLD_LAYER = 100, 2
_NAME, _BLOBS = 1, 7
_V1_NAME, _V1_BLOBS, _V1_INNER = 4, 6, 1
_V0_NAME, _V0_BLOBS = 1, 50

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """What was written: size in bytes and hex SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class SolverStateFile:
    """A solverstate: iteration, caffemodel it belongs to, momentum arrays, multistep's step."""

    iteration: int
    learned_net: str
    history: list[Array]
    current_step: int


def mapped(path: Path, what: str, read: Callable[[memoryview], T]) -> T:
    """The result of ``read`` on the mapped bytes of a file that should be a ``what``.  Raises InputError."""
    try:
        with path.open("rb") as handle:
            if path.stat().st_size == 0:
                raise InputError(path, f"a {what}", "an empty file")
            buffer = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise InputError(path, f"a readable {what}", instead(path, what, error.strerror or str(error))) from None
    try:
        return read(buffer)
    except WireError as error:
        raise InputError(path, f"a whole {what}", instead(path, what, str(error))) from None


def _text(buffer: memoryview, field: Field) -> str:
    try:
        return str(bytes(buffer[field.start : field.end]), "utf-8")
    except UnicodeDecodeError:
        raise WireError("a name that is not UTF-8") from None


def read_caffemodel(path: str | Path) -> dict[str, list[Array]]:
    """Arrays of each layer of a caffemodel, by layer name; layers without arrays are left out.

    Reads today's files and those of both older ages (V1 and V0 layers, 4-axis shapes), which
    bvlc_alexnet.caffemodel has, and HDF5 by its content, where layers have :class:`OwnArrays`.  Arrays are
    float32, of binaryproto views of the file.  A second layer of one name is ``name#2`` here, a third ``name#3``.
    Raises InputError.
    """
    if is_hdf5(path):
        return hdf5_weights.read_layers(Path(path))

    def read(buffer: memoryview) -> dict[str, list[Array]]:
        layers: dict[str, list[Array]] = {}
        seen = False
        for field in fields(buffer, 0, len(buffer)):
            if field.number == _NAME and field.kind == VARINT:  # a net's name is text
                raise WireError("a number for the net's name")
            if field.kind == BYTES and field.number in (_LAYER, _OLD_LAYER):
                seen = True
                numbers = (_NAME, _BLOBS) if field.number == _LAYER else (_V1_NAME, _V1_BLOBS)
                inner = None if field.number == _LAYER else _V1_INNER
                name, arrays = _read_layer(buffer, field, numbers, inner)
                if arrays:
                    layers[_free(name, layers)] = arrays
        if not seen:
            raise WireError("a file without layers")
        return layers

    return mapped(Path(path), "caffemodel", read)


def read_layer_names(path: str | Path) -> list[str]:
    """Names of all layers in a caffemodel, in order, those without arrays too.  Raises InputError."""
    if is_hdf5(path):
        return hdf5_weights.read_names(Path(path))

    def read(buffer: memoryview) -> list[str]:
        found = []
        for field in fields(buffer, 0, len(buffer)):
            if field.kind == BYTES and field.number in (_LAYER, _OLD_LAYER):
                number = _NAME if field.number == _LAYER else _V1_NAME
                inner = (f for f in fields(buffer, field.start, field.end) if f.number == number and f.kind == BYTES)
                found += [_text(buffer, name) for name in inner][-1:]
        return found

    return mapped(Path(path), "caffemodel", read)


def _free(name: str, taken: dict[str, list[Array]]) -> str:
    number, key = 1, name
    while key in taken:
        number += 1
        key = f"{name}#{number}"
    return key


def last_of(weights: Mapping[str, Sequence[Array]], name: str) -> Sequence[Array] | None:
    """The arrays of the last layer of a name among what :func:`read_caffemodel` gives; None without one."""
    number, found = 1, weights.get(name)
    while (more := weights.get(f"{name}#{number + 1}")) is not None:
        number, found = number + 1, more
    return found


def _read_layer(
    buffer: memoryview, layer: Field, numbers: tuple[int, int], inner: int | None
) -> tuple[str, list[Array]]:
    name, arrays = "", []
    for field in fields(buffer, layer.start, layer.end):
        if field.kind != BYTES:
            continue
        if field.number == numbers[0]:
            name = _text(buffer, field)
        elif field.number == numbers[1]:
            arrays.append(read_blob(buffer, field.start, field.end))
        elif inner is not None and field.number == inner:
            return _read_layer(buffer, field, (_V0_NAME, _V0_BLOBS), None)
    return name, arrays


def write_caffemodel(
    path: str | Path, net_name: str, layers: Iterable[tuple[Any, Sequence[Array]]],
    diffs: Iterable[Sequence[Array]] | None = None,
) -> Written:  # fmt: skip
    """Write a caffemodel of (LayerParameter without blobs, its float32 arrays) in order, with ``diffs`` where given."""
    of_layers = repeat(()) if diffs is None else iter(diffs)
    with atomic_file(path) as handle:
        out = HashingWriter(handle)
        out.write(messages.NetParameter(name=net_name).SerializeToString())
        for (layer, arrays), updates in zip(layers, of_layers, strict=False):
            head = layer.SerializeToString()
            pairs: list[tuple[Array, Array | None]] = list(zip_longest(arrays, updates))
            out.write(prefix(_LAYER, len(head) + sum(blob_size(_BLOBS, a, d) for a, d in pairs)))
            out.write(head)
            for array, diff in pairs:
                for part in blob_parts(_BLOBS, array, diff):
                    out.write(part)
    return Written(out.size, out.sha256)


def write_caffemodel_hdf5(path: str | Path, layers: Iterable[StoredLayer], diffs: bool = False) -> Written:
    """Write a caffemodel in HDF5: all layers, those without arrays too; with a group of ``diffs`` or without."""
    return Written(*hdf5_weights.write_layers(Path(path), layers, diffs))


def write_rows(
    path: str | Path, net_name: str, layer: Any, shape: Sequence[int], blocks: Iterable[npt.NDArray[np.float32]]
) -> Written:
    """Write a caffemodel of one layer with one array of ``shape``, whose values come in ``blocks``.

    Never more than a block is held.  The blocks must fill the shape.
    """
    before, after = blob_frame(_BLOBS, shape)
    head, size = layer.SerializeToString(), 4 * math.prod(shape)
    with atomic_file(path) as handle:
        out = HashingWriter(handle)
        out.write(messages.NetParameter(name=net_name).SerializeToString())
        out.write(prefix(_LAYER, len(head) + len(before) + size + len(after)) + head + before)
        start = out.size
        for block in blocks:
            out.write(np.ascontiguousarray(block, "<f4").reshape(-1))
        assert out.size - start == size, "blocks that do not fill the shape"
        out.write(after)
    return Written(out.size, out.sha256)


def read_solverstate(path: str | Path) -> SolverStateFile:
    """Read a solverstate, in HDF5 by its content; history arrays are float32.  Raises InputError."""
    if is_hdf5(path):
        return SolverStateFile(*hdf5_weights.read_state(Path(path)))

    def read(buffer: memoryview) -> SolverStateFile:
        iteration: int | None = None
        learned, step = "", 0
        history: list[Array] = []
        for field in fields(buffer, 0, len(buffer)):
            if field.number == 1 and field.kind == VARINT:
                iteration = field.value
            elif field.number == 2 and field.kind == BYTES:
                learned = _text(buffer, field)
            elif field.number == 3 and field.kind == BYTES:
                history.append(read_blob(buffer, field.start, field.end))
            elif field.number == 4 and field.kind == VARINT:
                step = field.value
            else:
                raise WireError(f"field {field.number}, which a solverstate has not")
        if iteration is None:
            raise WireError("no iteration")
        if iteration > 2**31 - 1 or step > 2**31 - 1:
            raise WireError("an iteration past 2^31")
        return SolverStateFile(iteration, learned, history, step)

    return mapped(Path(path), "solverstate", read)


def write_solverstate(
    path: str | Path, iteration: int, learned_net: str, history: Iterable[Array], current_step: int, hdf5: bool = False
) -> Written:
    """Write a solverstate Caffe can resume from, in binaryproto or HDF5."""
    if hdf5:
        return Written(*hdf5_weights.write_state(Path(path), iteration, learned_net, history, current_step))
    with atomic_file(path) as handle:
        out = HashingWriter(handle)
        name = learned_net.encode()
        out.write(key(1, VARINT) + varint(iteration) + prefix(2, len(name)) + name)
        for array in history:
            for part in blob_parts(3, array):
                out.write(part)
        out.write(key(4, VARINT) + varint(current_step))
    return Written(out.size, out.sha256)


def read_mean_file(path: str | Path) -> Array:
    """Read a Caffe mean file (binaryproto): (C, H, W) float32.  Raises InputError."""

    def read(buffer: memoryview) -> Array:
        array = read_blob(buffer, 0, len(buffer))
        if array.ndim == 4 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 3:
            raise WireError(f"an array of shape {array.shape}")
        return array

    return mapped(Path(path), "mean file", read)
