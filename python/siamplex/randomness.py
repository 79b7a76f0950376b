"""Random streams named by their purpose.

Every draw comes from a generator seeded by what it is for (seed, actor, layer, iteration ...), so
nothing depends on the order of drawing, and no stream's state ever has to be saved.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, the same on every machine."""
    text = "\0".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A numpy generator for one purpose (an actor, a layer's initial weights, a shuffle)."""
    return np.random.default_rng(derive(seed, *purpose))
