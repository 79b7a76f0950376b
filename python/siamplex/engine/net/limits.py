"""Memory limits: a net that needs more memory than the machine has is refused before anything is allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from siamplex.schema.blobs import MAX_AXES

if TYPE_CHECKING:  # the doctor asks for the machine's memory where there is no torch
    import torch


def machine_memory() -> int:
    """Total memory of this machine in bytes.  Raises OSError or ValueError where the system does not report it."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_of(device: torch.device) -> int:
    """Total memory of a device in bytes."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory()


NO_LIMIT = 1 << 60  # bytes; a net that needs more is a mistake in the prototxt
LARGEST = 2**31 - 1  # values in one of Caffe's blobs


class Budget:
    """Counts the float32 values that a net needs against a device's memory, or against ``limit`` bytes."""

    def __init__(self, device: torch.device, limit: int | None = None) -> None:
        self._left = self._all = memory_of(device) if limit is None else limit

    def take(self, shape: Sequence[int]) -> str | None:
        """Count an array of ``shape``; returns the error text if Caffe or the limit does not allow it, else None."""
        if any(size < 0 for size in shape):
            return f"shape {tuple(shape)} has a negative size"
        if len(shape) > MAX_AXES:
            return f"{len(shape)} axes, Caffe's blobs have at most {MAX_AXES}"
        self._left -= 4 * math.prod(shape)
        if self._left >= 0 and math.prod(shape) > LARGEST:
            return f"shape {tuple(shape)} has {math.prod(shape)} values, Caffe's blobs have at most {LARGEST}"
        if self._left >= 0:
            return None
        if self._all == NO_LIMIT:
            return f"shape {tuple(shape)}: with this the net asks for more than any machine has"
        return f"shape {tuple(shape)}: with this the net asks for more than the {self._all / 2**30:.1f} GiB there are"

    def exchange(self, before: Sequence[int], shape: Sequence[int]) -> str | None:
        """Count an array of ``shape`` instead of ``before``; as :meth:`take`, but a refused one leaves the count."""
        left = self._left
        self._left += 4 * math.prod(before)
        refused = self.take(shape)
        if refused:
            self._left = left
        return refused
