"""Weights in ONNX files: the initialisers, and which of them belong to each convolution.

As for caffemodels, the wire format is walked in the mapped file, and arrays are made only when asked for.  Field
numbers are those of onnx.proto: ModelProto.graph 7; GraphProto.node 1, initializer 5; NodeProto.input 1, op_type 4;
TensorProto below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.schema.blobs import MAX_AXES, Array
from siamplex.schema.weights import mapped
from siamplex.schema.wire import BYTES, FIXED32, VARINT, Field, WireError, fields, read_varint

_GRAPH, _NODE, _INITIALIZER = 7, 1, 5
_INPUT, _OP_TYPE = 1, 4
_DIMS, _TYPE, _FLOATS, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 4, 8, 9, 13, 14
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2")}
_MAX_NAME = 1 << 12  # bytes
_MAX_ENTRIES = 100_000  # initialisers, or convolutions


@dataclass
class Initialiser:
    """One TensorProto: its shape and where its values lie in the file."""

    name: str = ""
    shape: tuple[int, ...] = ()
    kind: int = 0
    external: bool = False
    _buffer: memoryview = field(default_factory=lambda: memoryview(b""))
    _spans: list[tuple[int, int]] = field(default_factory=list)
    _raw: bool = False

    def array(self) -> Array:
        """The values as float32.  Raises WireError where they are not in the file, or not floats."""
        dtype = _DTYPES.get(self.kind)
        if self.external:
            raise WireError(f"{self.name!r:.80} keeps its values in another file, which is not opened")
        if dtype is None:
            raise WireError(f"{self.name!r:.80} is of ONNX type {self.kind}, not float32 (1) or float16 (10)")
        if self.kind == 10 and self._spans and not self._raw:
            raise WireError(f"{self.name!r:.80} holds float16 as float_data, not as raw_data")
        size = sum(end - start for start, end in self._spans)
        if size != math.prod(self.shape) * dtype.itemsize:
            raise WireError(f"{self.name!r:.80} of shape {self.shape} with {size} bytes")
        parts = [self._buffer[start:end] for start, end in self._spans]
        values = np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype)
        return np.asarray(values.reshape(self.shape), dtype=np.float32)


@dataclass(frozen=True)
class OnnxWeights:
    """Initialisers by name, and of each convolution the names of its weight and, if any, its bias."""

    initialisers: dict[str, Initialiser]
    convolutions: list[tuple[str, str]]


def read_onnx(path: str | Path) -> OnnxWeights:
    """Initialisers and convolutions of an ONNX model's main graph.  Raises InputError.

    Values are not read here; :meth:`Initialiser.array` does.
    """
    return mapped(Path(path), "ONNX model", _read_model)


def _read_model(buffer: memoryview) -> OnnxWeights:
    found = OnnxWeights({}, [])
    graphs = 0
    for part in fields(buffer, 0, len(buffer)):
        if part.number == _GRAPH and part.kind == BYTES:
            graphs += 1
            _read_graph(buffer, part, found)
    if graphs != 1:
        raise WireError(f"{graphs} graphs")
    return found


def _read_graph(buffer: memoryview, graph: Field, found: OnnxWeights) -> None:
    for part in fields(buffer, graph.start, graph.end):
        if part.kind != BYTES:
            continue
        if part.number == _INITIALIZER:
            made = _read_tensor(buffer, part)
            if made.name in found.initialisers:
                raise WireError(f"two initialisers named {made.name!r:.80}")
            found.initialisers[made.name] = made
        elif part.number == _NODE:
            found.convolutions.extend(_read_node(buffer, part))
        if max(len(found.initialisers), len(found.convolutions)) > _MAX_ENTRIES:
            raise WireError(f"more than {_MAX_ENTRIES} initialisers or convolutions")


def _read_node(buffer: memoryview, node: Field) -> Iterator[tuple[str, str]]:
    inputs: list[str] = []
    kind = ""
    for part in fields(buffer, node.start, node.end):
        if part.kind == BYTES and part.number == _INPUT and len(inputs) < 3:
            inputs.append(_text(buffer, part))
        elif part.kind == BYTES and part.number == _OP_TYPE:
            kind = _text(buffer, part)
    if kind == "Conv" and len(inputs) >= 2:
        yield inputs[1], inputs[2] if len(inputs) > 2 else ""


def _read_tensor(buffer: memoryview, tensor: Field) -> Initialiser:
    made = Initialiser(_buffer=buffer)
    dims: list[int] = []
    for part in fields(buffer, tensor.start, tensor.end):
        if part.number == _DIMS:
            dims += _read_dims(buffer, part)
            if len(dims) > MAX_AXES:
                raise WireError(f"an array of more than {MAX_AXES} axes")
        elif part.number == _TYPE and part.kind == VARINT:
            made.kind = part.value
        elif part.number == _NAME and part.kind == BYTES:
            made.name = _text(buffer, part)
        elif part.number == _RAW and part.kind == BYTES:
            made._spans.append((part.start, part.end))
            made._raw = True
        elif part.number == _FLOATS and part.kind in (BYTES, FIXED32):
            made._spans.append((part.start, part.end))
        elif part.number == _EXTERNAL or (part.number == _LOCATION and part.value == 1):
            made.external = True
    if max(dims, default=0) >= 2**31:
        raise WireError(f"{made.name!r:.80} of shape {tuple(dims)}")
    made.shape = tuple(dims)
    return made


def _read_dims(buffer: memoryview, part: Field) -> list[int]:
    if part.kind == VARINT:
        return [part.value]
    dims: list[int] = []
    at = part.start
    while part.kind == BYTES and at < part.end and len(dims) <= MAX_AXES:
        size, at = read_varint(buffer, at, part.end)
        dims.append(size)
    return dims


def _text(buffer: memoryview, part: Field) -> str:
    if part.end - part.start > _MAX_NAME:
        raise WireError(f"a name of {part.end - part.start} bytes")
    try:
        return str(bytes(buffer[part.start : part.end]), "utf-8")
    except UnicodeDecodeError:
        raise WireError("a name that is not UTF-8") from None
