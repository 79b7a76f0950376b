"""Convolutions to start from where AlexNet's are not at hand.

conv1: Gabor filters and colour-opponent filters, what AlexNet's conv1 is known to look like.
conv2, conv3: random, without a mean.  Not trained on anything, and said to be so wherever a
result of theirs appears.
"""

from __future__ import annotations

import numpy as np

from siamplex.randomness import numpy_stream
from siamplex.schema.blobs import Array

NOTE = "conv1-3 start from a substitute (Gabor and colour-opponent conv1, random conv2-3), not from AlexNet's weights"

# axes of colour in B, G, R: brightness, red-green, blue-yellow
_BRIGHTNESS = np.array([1, 1, 1]) / np.sqrt(3)
_RED_GREEN = np.array([0, -1, 1]) / np.sqrt(2)
_BLUE_YELLOW = np.array([2, -1, -1]) / np.sqrt(6)


# Norm of a conv1 filter, and the factor on He's deviation of conv2 and conv3.  Their product keeps
# features about as large as pixels are apart over 50, for which the paper's learning rate suits fc4;
# their ratio lets that rate move all three by like shares of themselves in stage 2, as AlexNet's do.
_CONV1_NORM = 0.4
_GAIN = 0.22


def gabor_bank(count: int, size: int) -> Array:
    """(count, 3, size, size) filters of equal norm and no mean: half Gabors, half colour-opponent."""
    filters = []
    for i in range(count):
        opponent = i % 2 == 1
        n = i // 2
        angle = np.pi * (n % 8) / 8
        phase = np.pi / 2 * (n // 8 % 2)
        if opponent:
            colour = _RED_GREEN if n % 2 else _BLUE_YELLOW
            cycles = (0.0, 0.6, 1.2)[n // 16 % 3]
        else:
            colour = _BRIGHTNESS
            cycles = (2.6, 1.7, 1.1)[n // 16 % 3]
        filters.append(_gabor(size, angle, cycles, phase if cycles else 0.0)[None] * colour[:, None, None])
    bank = np.array(filters)
    bank *= _CONV1_NORM / np.sqrt((bank**2).sum(axis=(1, 2, 3), keepdims=True))
    return bank.astype(np.float32)


def _gabor(size: int, angle: float, cycles: float, phase: float) -> np.ndarray:
    """A grating of ``cycles`` per window under a Gaussian; no mean unless it is a plain blob."""
    at = (np.arange(size) - (size - 1) / 2) / size
    x, y = np.meshgrid(at, at)
    along = x * np.cos(angle) + y * np.sin(angle)
    envelope = np.exp(-(x**2 + y**2) / (2 * 0.22**2))
    wave = envelope * np.cos(2 * np.pi * cycles * along + phase)
    if cycles:
        wave -= envelope * (wave.sum() / envelope.sum())
    return np.asarray(wave)


def convolution(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """Weights of one convolution (outputs, inputs per group, height, width), float32."""
    if name == "conv1" and shape[1] == 3 and shape[2] == shape[3]:
        return gabor_bank(shape[0], shape[2])
    stream = numpy_stream(seed, "substitute", name)
    fan_in = int(np.prod(shape[1:]))
    weights = stream.standard_normal(shape, dtype=np.float32)
    # no mean: inputs are all positive behind a ReLU, and what they have in common says nothing
    weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
    weights *= np.float32(_GAIN * np.sqrt(2.0 / fan_in))
    return weights
