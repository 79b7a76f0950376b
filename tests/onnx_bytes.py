"""ONNX models for tests, built field by field from onnx.proto's numbers."""

from __future__ import annotations

import numpy as np

from siamplex.schema.wire import VARINT, key, prefix, varint


def part(number: int, data: bytes) -> bytes:
    return prefix(number, len(data)) + data


def number(field: int, value: int) -> bytes:
    return key(field, VARINT) + varint(value)


def tensor(name: str, array: np.ndarray, packed_dims: bool = True, as_floats: bool = False) -> bytes:
    """A TensorProto of float32, float16 or int8 values; as float_data or, by default, raw_data."""
    kind = {"float32": 1, "float16": 10, "int8": 3}[array.dtype.name]
    dims = b"".join(map(varint, array.shape))
    shape = part(1, dims) if packed_dims else b"".join(number(1, size) for size in array.shape)
    return shape + number(2, kind) + part(8, name.encode()) + part(4 if as_floats else 9, array.tobytes())


def conv(weight: str, bias: str = "") -> bytes:
    """A NodeProto of one convolution."""
    inputs = b"".join(part(1, n.encode()) for n in ("x", weight, bias) if n)
    return inputs + part(2, b"y") + part(4, b"Conv")


def model(tensors: list[bytes], nodes: list[bytes] = ()) -> bytes:  # type: ignore[assignment]
    """A ModelProto as converters write it: version, producer, the graph with nodes first, the opset."""
    graph = b"".join(part(1, n) for n in nodes) + part(2, b"graph") + b"".join(part(5, t) for t in tensors)
    return number(1, 7) + part(2, b"tests") + part(7, graph) + part(8, number(2, 12))
