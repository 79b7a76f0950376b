"""Arrays inside caffemodel, solverstate and mean files (Caffe's BlobProto)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.schema.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    WireError,
    fields,
    prefix,
    read_varint,
    varint,
)

Array = npt.NDArray[np.float32]

_SHAPE, _DATA, _DIFF, _DOUBLE = 7, 5, 6, 8
_LEGACY = (1, 2, 3, 4)  # num, channels, height, width of files older than BlobShape
MAX_AXES = 32  # Caffe's own limit


def read_blob(buffer: memoryview, start: int, end: int) -> Array:
    """Read the BlobProto in ``buffer[start:end]``: float32, a read-only view where it can be.

    Shape is that of BlobShape, or (num, channels, height, width) in old files; without either it is (), one
    value.  Raises WireError when the values do not fill the shape.
    """
    dims: list[int] = []
    legacy: list[int] | None = None
    parts: list[npt.NDArray[Any]] = []
    singles: list[bytes] = []
    for field in fields(buffer, start, end):
        if field.number == _SHAPE and field.kind == BYTES:
            dims += _read_dims(buffer, field.start, field.end)
        elif field.number in (_DATA, _DOUBLE) and field.kind == BYTES:
            dtype = np.dtype("<f4" if field.number == _DATA else "<f8")
            if (field.end - field.start) % dtype.itemsize:
                raise WireError(f"an array of {field.end - field.start} bytes")
            parts.append(np.frombuffer(buffer[field.start : field.end], dtype=dtype))
        elif field.number == _DATA and field.kind == FIXED32:
            singles.append(bytes(buffer[field.start : field.end]))
        elif field.number == _DOUBLE and field.kind == FIXED64:
            value = np.frombuffer(buffer[field.start : field.end], dtype="<f8")
            singles.append(value.astype("<f4").tobytes())
        elif field.number in _LEGACY and field.kind == VARINT:
            legacy = legacy or [0, 0, 0, 0]
            legacy[field.number - 1] = field.value
    if singles:
        parts.append(np.frombuffer(b"".join(singles), dtype="<f4"))
    values = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, "<f4")])
    shape = tuple(dims if legacy is None else legacy)
    if math.prod(shape) != values.size:
        raise WireError(f"a blob of shape {shape} with {values.size} values")
    if len(shape) > MAX_AXES or max(shape, default=0) >= 2**31:
        raise WireError(f"a blob of shape {shape}")
    return np.asarray(values.reshape(shape), dtype=np.float32)


def _read_dims(buffer: memoryview, start: int, end: int) -> list[int]:
    dims: list[int] = []
    for field in fields(buffer, start, end):
        if field.number == 1 and field.kind == VARINT:
            dims.append(field.value)
        elif field.number == 1 and field.kind == BYTES:
            at = field.start
            while at < field.end:
                size, at = read_varint(buffer, at, field.end)
                dims.append(size)
        if len(dims) > MAX_AXES:
            raise WireError(f"a blob of more than {MAX_AXES} axes")
    return dims


def blob_parts(number: int, array: Array, diff: Array | None = None) -> Iterator[bytes | memoryview]:
    """The bytes of ``array``, and of a ``diff`` of its shape, as a BlobProto in field ``number``, not copied."""
    data = np.asarray(array, dtype="<f4", order="C")  # unlike ascontiguousarray, one value without axes stays so
    shape = _shape_field(data.shape)
    parts = [(_DATA, data)] if diff is None else [(_DATA, data), (_DIFF, np.asarray(diff, dtype="<f4", order="C"))]
    heads = [prefix(field, values.nbytes) for field, values in parts]
    yield prefix(number, sum(map(len, heads)) + sum(values.nbytes for _, values in parts) + len(shape))
    for head, (_, values) in zip(heads, parts, strict=True):
        yield head
        yield memoryview(values.reshape(-1).data).cast("B") if values.size else b""
    yield shape


def blob_frame(number: int, shape: Sequence[int]) -> tuple[bytes, bytes]:
    """What stands before and behind the float32 values of a BlobProto in field ``number``."""
    size = 4 * math.prod(shape)
    after = _shape_field(shape)
    head = prefix(_DATA, size)
    return prefix(number, len(head) + size + len(after)) + head, after


def _shape_field(shape: Sequence[int]) -> bytes:
    """A BlobProto's field ``shape``; empty for one value, which has no axes and says none."""
    dims = b"".join(varint(size) for size in shape)
    packed = prefix(1, len(dims)) + dims
    return prefix(_SHAPE, len(packed)) + packed if shape else b""


def blob_size(number: int, array: Array, diff: Array | None = None) -> int:
    """Bytes :func:`blob_parts` will yield."""
    return sum(len(part) for part in blob_parts(number, array, diff))
