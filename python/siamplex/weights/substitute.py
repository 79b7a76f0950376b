"""Substitute conv1-3, used when AlexNet's are not available.

conv1: Gabor and colour-opponent filters, the known appearance of AlexNet's conv1.  conv2, conv3: random.  They are not
trained on anything, and every output that depends on them says so.

They match AlexNet's in the statistics that decide how later layers learn: over drawn faces, the mean, deviation,
maximum and share of active units of each layer are AlexNet's within a fifth, both at pixels of 0..255 less the mean and
at 1/256 of them, where AlexNet's biases matter.  The constants were set by these statistics alone
(``tests/weights/test_substitute.py`` has them), never by training results.

Like AlexNet's, they do not depend on the seed of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from siamplex.randomness import numpy_stream
from siamplex.schema.blobs import Array

NOTE = "conv1-3 start from a substitute (Gabor and colour-opponent conv1, random conv2-3), not from AlexNet's weights"

Values = npt.NDArray[np.float64]

# axes of colour in B, G, R: brightness, red-green, blue-yellow
_BRIGHTNESS = np.array([1, 1, 1]) / np.sqrt(3)
_RED_GREEN = np.array([0, -1, 1]) / np.sqrt(2)
_BLUE_YELLOW = np.array([2, -1, -1]) / np.sqrt(6)

_DRAW = 1  # of conv2 and conv3
_WINDOW = 0.095  # of the Gaussian over a filter: its deviation in kernel sizes


@dataclass(frozen=True)
class _Filters:
    """One half of conv1: colour-opponent filters, or bright-dark ones.

    ``colour`` is the share of a filter's energy along a colour axis, ``norm`` and ``spread`` the mean and the
    relative deviation of the filters' norms, ``level`` the deviation of the sums of their weights, which answer to a
    plain surface.  Measured on AlexNet's conv1: colour 0.77 and 0.15, norm 0.84 and 1.19, spread 0.37 and 0.43,
    level 0.48 and 0.23.  AlexNet's filters differ among each other in more than these can, so the spread here
    is larger.
    """

    cycles: tuple[float, ...]
    colour: float
    norm: float
    spread: float
    level: float


_COLOUR = _Filters((0.0, 0.6189, 1.238), 0.919, 0.948, 0.99, 0.467)
_BRIGHT = _Filters((1.371, 1.87, 2.353, 2.824, 3.649), 0.18, 1.84, 1.1, 0.18)
# mean of the sums, and deviation of the logarithm of their sizes
_LEVEL_MEAN, _LEVEL_TAIL = -0.0571, 0.926
_CONV1_BIAS = (-0.335, 0.165)  # mean and deviation; AlexNet's are -0.45 and 0.23


@dataclass(frozen=True)
class _Random:
    """A random convolution, by statistics that AlexNet's has too.

    ``norm`` and ``spread``: mean and relative deviation of the kernels' norms.  ``sum``: mean and deviation of the
    kernels' sums; they are below 0, which makes units sparse.  ``bias``: mean and deviation.  ``smooth``: how far
    neighbouring weights go together, in pixels.  ``focus``: deviation of the logarithm of an input's share, which
    gives the long-tailed weights of AlexNet (kurtosis 15 and 13).
    """

    norm: float
    spread: float
    sum: tuple[float, float]
    bias: tuple[float, float]
    smooth: float
    focus: float


# AlexNet's: norm 0.85 and 0.81, spread 0.29 and 0.12, sum -1.4 +- 1.0 and -1.9 +- 1.2, bias 0.093 +- 0.017 and
# -0.003 +- 0.026.  Its kernels fit what reaches them; random ones need more norm to answer as strongly.
_LAYERS = {
    "conv2": _Random(1.08, 0.357, (-2.4, 0.837), (0.0727, 0.0203), 0.826, 0.535),
    "conv3": _Random(1.6, 0.326, (-2.56, 1.4), (0.0201, 0.0768), 0.538, 0.645),
}


def convolution(name: str, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Weights (outputs, inputs per group, height, width) and biases (outputs) of one convolution, float32."""
    if name == "conv1" and shape[1] == 3 and shape[2] == shape[3]:
        return gabor_bank(shape[0], shape[2])
    return _random(_LAYERS.get(name, _LAYERS["conv3"]), shape, numpy_stream(_DRAW, "substitute", name))


def gabor_bank(count: int, size: int) -> tuple[Array, Array]:
    """(count, 3, size, size) filters, the first half colour-opponent as AlexNet's, and (count) biases."""
    stream = numpy_stream(0, "substitute", "conv1")
    halves = [_filters(_COLOUR, count // 2, size, stream), _filters(_BRIGHT, count - count // 2, size, stream)]
    weights, biases = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    return weights.astype(np.float32), biases.astype(np.float32)


def _filters(kind: _Filters, count: int, size: int, stream: np.random.Generator) -> tuple[Values, Values]:
    made = np.empty((count, 3, size, size))
    for i in range(count):
        cycles = kind.cycles[i // 2 % len(kind.cycles)]
        hue = (_RED_GREEN if i % 2 else _BLUE_YELLOW) * (-1 if i // 6 % 2 else 1)
        bright = _BRIGHTNESS * (-1 if i // 12 % 2 and kind is _COLOUR else 1)
        axis = np.sqrt(kind.colour) * hue + np.sqrt(1 - kind.colour) * bright
        phase = np.pi / 2 * (i // 8 % 4) if cycles else 0.0
        filter_ = _gabor(size, np.pi * (i % 8) / 8, cycles, phase) * axis[:, None, None]
        made[i] = filter_ / np.sqrt((filter_**2).sum())
    made *= _around(kind.norm, kind.spread, count, stream)[:, None, None, None]
    tail = np.exp(_LEVEL_TAIL * _normal(count, stream) - _LEVEL_TAIL**2)
    levels = kind.level * _normal(count, stream) * tail + _LEVEL_MEAN
    made += levels[:, None, None, None] / (3 * size * size)
    return made, _CONV1_BIAS[0] + _CONV1_BIAS[1] * _normal(count, stream)


def _gabor(size: int, angle: float, cycles: float, phase: float) -> Values:
    """A grating of ``cycles`` per window under a Gaussian; no mean unless it is a plain blob."""
    at = (np.arange(size) - (size - 1) / 2) / size
    x, y = np.meshgrid(at, at)
    along = x * np.cos(angle) + y * np.sin(angle)
    envelope = np.exp(-(x**2 + y**2) / (2 * _WINDOW**2))
    wave = envelope * np.cos(2 * np.pi * cycles * along + phase)
    if cycles:
        wave -= envelope * (wave.sum() / envelope.sum())
    return np.asarray(wave)


def _random(kind: _Random, shape: tuple[int, ...], stream: np.random.Generator) -> tuple[Array, Array]:
    outputs = shape[0]
    weights = stream.standard_normal(shape)
    for axis in (2, 3):
        at = np.arange(shape[axis])
        near = np.exp(-((at[:, None] - at) ** 2) / (2 * kind.smooth**2))
        weights = np.moveaxis(np.tensordot(weights, near, (axis, 0)), -1, axis)
    weights *= np.exp(kind.focus * stream.standard_normal(shape[:2]))[:, :, None, None]
    weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
    lengths = np.sqrt((weights**2).sum(axis=(1, 2, 3)))
    weights *= (_around(kind.norm, kind.spread, outputs, stream) / np.maximum(lengths, 1e-12))[:, None, None, None]
    sums = kind.sum[0] + kind.sum[1] * _normal(outputs, stream)
    weights += sums[:, None, None, None] / np.prod(shape[1:])
    biases = kind.bias[0] + kind.bias[1] * _normal(outputs, stream)
    return weights.astype(np.float32), biases.astype(np.float32)


def _normal(count: int, stream: np.random.Generator) -> Values:
    """The normal distribution's ``count`` quantiles in random order: its moments, at any width of the net."""
    return stream.permutation(np.asarray(ndtri((np.arange(count) + 0.5) / max(count, 1)), np.float64))


def _around(mean: float, spread: float, count: int, stream: np.random.Generator) -> Values:
    """Positive values of this mean and about this relative deviation, log-normal."""
    values = np.exp(np.sqrt(np.log1p(spread**2)) * _normal(count, stream))
    return np.asarray(mean * values / values.mean()) if count else values
