"""Initial values of parameters, by Caffe's filler types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.randomness import numpy_stream
from siamplex.schema.messages import enum_name

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]
_Fill = Callable[[Any, Shape, np.random.Generator], Array]


class FillerError(ValueError):
    """A filler that is unknown or does not suit the shape."""


def fill(filler: Any, shape: Shape, seed: int, layer: str, index: int) -> Array:
    """Float32 values of ``shape`` as a FillerParameter asks.

    The values depend only on the seed, the layer's name and the blob's index in it, so adding a
    layer does not change the others.  Raises FillerError.
    """
    check(filler, shape)
    return _FILLERS[str(filler.type)](filler, shape, numpy_stream(seed, "filler", layer, index))


def check(filler: Any, shape: Shape) -> None:
    """Raise FillerError where a filler is unknown, or where Caffe stops at its settings or at the shape."""
    kind = str(filler.type)
    if kind not in _FILLERS:
        raise FillerError(f"filler '{kind}' is not supported (known: {', '.join(sorted(_FILLERS))})")
    if not math.prod(shape):
        raise FillerError(f"nothing to fill: shape {shape} has no values")
    if kind == "gaussian":
        _check_gaussian(filler, shape)
    elif filler.sparse != -1:
        raise FillerError(f"sparse is gaussian's: {kind} cannot be sparse")
    if kind == "uniform" and not (filler.min <= filler.max and math.isfinite(filler.max - filler.min)):
        raise FillerError(f"uniform from min {filler.min:g} to max {filler.max:g}")
    if kind in ("xavier", "msra", "positive_unitball") and not shape:
        raise FillerError(f"filler '{kind}' needs a blob with an axis; a single number takes constant")
    if kind == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise FillerError(f"bilinear needs a square 4-axis blob, found {shape}")


def _check_gaussian(filler: Any, shape: Shape) -> None:
    if not filler.std > 0:
        raise FillerError(f"std {filler.std:g}: gaussian needs a positive one (type: 'constant' for equal values)")
    if filler.sparse < -1:
        raise FillerError(f"sparse {filler.sparse} is negative")
    if filler.sparse >= 0 and (not shape or filler.sparse > shape[0]):
        raise FillerError(f"sparse {filler.sparse} for a blob of shape {shape}")


def _fan(filler: Any, shape: Shape) -> float:
    """Values per output (FAN_IN), per input (FAN_OUT), or the mean of both."""
    count = math.prod(shape)
    inward = count / shape[0]
    outward = count / shape[1] if len(shape) > 1 else float(count)
    mode = enum_name(filler, "variance_norm")
    return {"FAN_IN": inward, "FAN_OUT": outward, "AVERAGE": (inward + outward) / 2}[mode]


def _constant(filler: Any, shape: Shape, stream: np.random.Generator) -> Array:
    return np.full(shape, filler.value, np.float32)


def _between(low: float, high: float, shape: Shape, stream: np.random.Generator) -> Array:
    values = stream.random(shape, dtype=np.float32)
    values *= np.float32(high - low)
    values += np.float32(low)
    return values


def _uniform(filler: Any, shape: Shape, stream: np.random.Generator) -> Array:
    return _between(filler.min, filler.max, shape, stream)


def _gaussian(filler: Any, shape: Shape, stream: np.random.Generator) -> Array:
    values = stream.standard_normal(shape, dtype=np.float32)
    values *= np.float32(filler.std)
    values += np.float32(filler.mean)
    if filler.sparse >= 0:
        values *= stream.random(shape) < filler.sparse / shape[0]
    return values


def _xavier(filler: Any, shape: Shape, stream: np.random.Generator) -> Array:
    bound = math.sqrt(3.0 / _fan(filler, shape))
    return _between(-bound, bound, shape, stream)


def _msra(filler: Any, shape: Shape, stream: np.random.Generator) -> Array:
    values = stream.standard_normal(shape, dtype=np.float32)
    values *= np.float32(math.sqrt(2.0 / _fan(filler, shape)))
    return values


def _positive_unitball(filler: Any, shape: Shape, stream: np.random.Generator) -> Array:
    values = stream.random((shape[0], math.prod(shape[1:])), dtype=np.float32)
    return (values / values.sum(axis=1, keepdims=True)).reshape(shape)


def _bilinear(filler: Any, shape: Shape, stream: np.random.Generator) -> Array:
    size = shape[3]
    factor = math.ceil(size / 2)
    centre = (2 * factor - 1 - factor % 2) / (2.0 * factor)
    ramp = 1 - np.abs(np.arange(size) / factor - centre)
    return np.broadcast_to(np.outer(ramp, ramp).astype(np.float32), shape).copy()


_FILLERS: dict[str, _Fill] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "positive_unitball": _positive_unitball,
    "bilinear": _bilinear,
}
