"""Recognises AlexNet's convolutions by their values, in any file format and at any precision.

bvlc_alexnet is often converted: into other formats, into float16, rounded, or with the kernels' channels reversed.  Its
conv1 rounded to multiples of 1/128 is unchanged by most conversions, and so are the deviations of conv2 and conv3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siamplex.schema.blobs import Array

# SHA-256 of conv1 (96, 3, 11, 11), BGR, rounded to multiples of 1/128, as int8 in C order: of the published
# values, and of those in float16, which fall on the other side of 67 roundings
_CONV1 = {
    "aeeb8c9c29013e1f40aa926da925c827d4a9f68560ef21f4188f6010baf68701",
    "60d0cb0fdd40b1c0fda1dd8efc4ae3c37056e0795ddc4d25744e3572d88a80b1",
}
_DEVIATIONS = {"conv2": 0.0253, "conv3": 0.0169}
_WITHIN = 0.02  # of a deviation
_FINEST = 12  # bits behind the point up to which values count as rounded


@dataclass(frozen=True)
class Fingerprint:
    """What was recognised: the order of conv1's channels, and the precision of each layer's weights."""

    channels: str
    precision: Mapping[str, str]

    @property
    def words(self) -> str:
        """Precision in words: ``conv1 in full, conv2 and conv3 multiples of 1/128``."""
        groups: dict[str, list[str]] = {}
        for name, precision in self.precision.items():
            groups.setdefault(precision, []).append(name)
        return ", ".join(f"{_listed(names)} {precision}" for precision, names in groups.items())


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def fingerprint(arrays: Mapping[str, Sequence[Array]]) -> Fingerprint | None:
    """Recognise AlexNet's conv1-3 by value, or not at all.

    ``arrays`` has for each layer its weights (conv2 in two groups: 256, 48, 5, 5) and further arrays, which do
    not count.
    """
    channels = _channels(arrays["conv1"][0])
    if channels is None:
        return None
    for name, wanted in _DEVIATIONS.items():
        with np.errstate(over="ignore", invalid="ignore"):
            if not abs(float(np.std(arrays[name][0], dtype=np.float64)) / wanted - 1) <= _WITHIN:
                return None
    return Fingerprint(channels, {name: precision(arrays[name][0]) for name in ("conv1", *_DEVIATIONS)})


def _channels(conv1: Array) -> str | None:
    """BGR or RGB, whichever order has AlexNet's hash."""
    if not np.isfinite(conv1).all() or np.abs(conv1).max(initial=0) > 0.99:
        return None
    rounded = np.rint(conv1 * np.float32(128)).astype(np.int8)
    for order, kernels in (("BGR", rounded), ("RGB", rounded[:, ::-1])):
        if hashlib.sha256(np.ascontiguousarray(kernels).tobytes()).hexdigest() in _CONV1:
            return order
    return None


def precision(weights: Array) -> str:
    """How exactly weights are kept: in full, in float16, or as multiples of a power of a half."""
    for bits in range(_FINEST + 1):
        scaled = weights * np.float32(2**bits)
        if np.array_equal(scaled, np.rint(scaled)):
            return f"multiples of 1/{2**bits}" if bits else "whole numbers"
    if np.array_equal(weights.astype(np.float16).astype(np.float32), weights):
        return "in float16"
    return "in full"
