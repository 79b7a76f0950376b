"""Reads conv1-3 from a caffemodel, ONNX model or npz archive; the format is recognised by content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.schema import file_kinds as kinds
from siamplex.schema.array_files import read_arrays
from siamplex.schema.blobs import Array
from siamplex.schema.file_kinds import ARCHIVE, PICKLE, words_for
from siamplex.schema.file_kinds import kind_of as kind_of_file
from siamplex.schema.hdf5_files import is_hdf5
from siamplex.schema.onnx_files import read_onnx
from siamplex.schema.weights import mapped, read_caffemodel
from siamplex.schema.wire import BYTES, VARINT, WireError, fields

# AlexNet's: outputs, inputs per group, height, width
SHAPES = {"conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3)}
_UNGROUPED = {"conv2": (256, 96, 5, 5)}
CAFFEMODEL, ONNX, NPZ = "caffemodel", "ONNX model", "npz archive"
WHAT = "a caffemodel, an ONNX model or an npz archive"
_NPZ_BYTES = 1 << 30  # of arrays


@dataclass(frozen=True)
class _Candidate:
    """Weights of one convolution in a file, with its bias where the file says which that is."""

    name: str
    shape: tuple[int, ...]
    weights: Array | None
    bias: Array | None


def kind_of(path: Path) -> str:
    """Format of a file by its first bytes and outermost fields.  Raises InputError."""
    try:
        with path.open("rb") as handle:
            head = handle.read(64)
    except OSError as error:
        raise InputError(path, WHAT, words_for(path, error.strerror or str(error))) from None
    known = kind_of_file(path)
    if head.startswith(b"PK") and (known is None or known.name not in (ARCHIVE, PICKLE)):
        return NPZ
    if known is not None and known.name not in (kinds.CAFFEMODEL, kinds.ONNX):
        raise InputError(path, WHAT, known.words)
    if is_hdf5(path):
        return CAFFEMODEL
    try:
        return mapped(path, WHAT, _protobuf_kind)
    except InputError as error:
        raise InputError(path, WHAT, "something else" if "whole" in error.expected else error.found) from None


def _protobuf_kind(buffer: memoryview) -> str:
    """ModelProto has its graph in field 7, which is a truth value in NetParameter; layers are 2 or 100."""
    found = ""
    for field in fields(buffer, 0, len(buffer)):
        if field.number == 7 and field.kind == BYTES:
            return ONNX
        if field.number == 1 and field.kind == VARINT:  # ir_version; a net's name is text
            found = ONNX
        elif field.number in (2, 100) and field.kind == BYTES:
            found = found or CAFFEMODEL
    if not found:
        raise WireError("neither a graph nor layers")
    return found


def read_convolutions(path: Path) -> dict[str, list[Array]]:
    """Weights and biases of conv1, conv2 (in two groups) and conv3, of AlexNet's shapes, float32.

    Layers go by their names (``conv1``; ``conv1_w``, ``conv1_w_0``), or, where names differ, by their shapes if
    just one array has the shape.  An ungrouped conv2 is taken if it is zero between two groups.  Raises InputError.
    """
    kind = kind_of(path)
    try:
        if kind == NPZ:
            arrays = read_arrays(path, WHAT, _NPZ_BYTES)
            return _select([*_from_names(arrays)])
        if kind == CAFFEMODEL:
            layers = read_caffemodel(path)
            return _select(_Candidate(n, a[0].shape, a[0], a[1] if len(a) > 1 else None) for n, a in layers.items())
        return _from_onnx(path)
    except WireError as error:
        raise InputError(path, "AlexNet's conv1, conv2 and conv3", f"{error} ({kind})") from None


def _from_names(arrays: dict[str, npt.NDArray[Any]]) -> Iterable[_Candidate]:
    for name, array in arrays.items():
        if array.ndim == 4 and array.dtype.kind == "f":
            bias = next((arrays[b] for b in _bias_names(name) if b in arrays and arrays[b].dtype.kind == "f"), None)
            yield _Candidate(name, array.shape, array, bias)


def _from_onnx(path: Path) -> dict[str, list[Array]]:
    model = read_onnx(path)
    stored = model.initialisers
    biases = {w: [b] for w, b in model.convolutions if b}
    weights = [t for t in stored.values() if t.shape in {*SHAPES.values(), *_UNGROUPED.values()}]
    made = []
    for tensor in weights:
        bias = next((stored[b] for b in [*biases.get(tensor.name, []), *_bias_names(tensor.name)] if b in stored), None)
        made.append((tensor, bias))
    chosen = {name: _choose([t for t, _ in made], name) for name in SHAPES}
    given = {tensor.name: bias for tensor, bias in made}
    return _select(
        _Candidate(name, t.shape, t.array(), bias.array() if (bias := given[t.name]) else None)
        for name, t in chosen.items()
    )


def _bias_names(weight: str) -> list[str]:
    """Names that a weight's bias has: conv1_w_0 and conv1_b_0, conv1.weight and conv1.bias."""
    return [weight.replace(w, b) for w, b in (("_w", "_b"), ("weight", "bias"), (".w", ".b")) if w in weight]


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


N = TypeVar("N", bound=_Named)


def _choose(candidates: Sequence[N], name: str) -> N:
    """The candidate for ``name``: the one with that name, or else the only one of its shape.  Raises WireError."""
    shapes = (SHAPES[name], _UNGROUPED.get(name, SHAPES[name]))
    fitting = [c for c in candidates if c.shape in shapes]
    named = [c for c in fitting if c.name in (name, f"{name}_w", f"{name}_w_0")]
    if len(named) == 1:
        return named[0]
    if len(fitting) != 1:
        other = next((c.shape for c in candidates if c.name in (name, f"{name}_w", f"{name}_w_0")), None)
        found = f"{len(fitting) or 'no'} arrays of {name}'s shape {SHAPES[name]}"
        raise WireError(found + (f", and one named {name} of shape {other}" if other and not fitting else ""))
    return fitting[0]


def _select(candidates: Iterable[_Candidate]) -> dict[str, list[Array]]:
    given = list(candidates)
    found: dict[str, list[Array]] = {}
    for name, shape in SHAPES.items():
        one = _choose(given, name)
        weights = regroup(np.asarray(one.weights, np.float32), shape)
        if weights.shape != shape:
            raise WireError(f"{name} without AlexNet's two groups")
        if one.bias is None or one.bias.size != shape[0]:
            raise WireError(f"no bias of {shape[0]} values for {name}")
        bias = np.asarray(one.bias, np.float32).reshape(shape[0])
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise WireError(f"values of {name} that are not finite")
        found[name] = [weights, bias]
    return found


def regroup(weights: Array, shape: tuple[int, ...]) -> Array:
    """Ungrouped kernels that are zero between two groups, as grouped ones of ``shape``; others as they are."""
    outputs, per_group = shape[0] // 2, shape[1]
    if weights.shape != (shape[0], 2 * per_group, *shape[2:]):
        return weights
    if weights[:outputs, per_group:].any() or weights[outputs:, :per_group].any():
        return weights
    return np.concatenate([weights[:outputs, :per_group], weights[outputs:, per_group:]])
