"""Random streams that need no saved state.

Every draw comes from a generator seeded by what it is for (run seed, layer, iteration, pass), so a
resumed run draws what the uninterrupted one would have, and a snapshot need not hold a stream.
Caffe's own random stream cannot be followed; its distributions are.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose of a run, the same on every machine."""
    text = "\0".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A numpy generator for one purpose (initial weights, say)."""
    return np.random.default_rng(derive(seed, *purpose))


def torch_stream(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU torch generator for one purpose (a dropout mask, say)."""
    return torch.Generator().manual_seed(derive(seed, *purpose))
