"""Numbering distinct stored samples, so that equal images get the same number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_KEY = 61  # values of a sample that form its key


class SampleNumbers:
    """Numbers distinct stored samples (C, H, W) in the order of their first occurrence.

    A few of a sample's values form its key; samples with the same key are compared byte by byte.
    This is several times faster than hashing every byte, and as exact.
    """

    def __init__(self) -> None:
        self._by_key: dict[bytes, list[int]] = {}
        self._samples: list[npt.NDArray[Any]] = []

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def samples(self) -> list[npt.NDArray[Any]]:
        """The distinct samples, by number."""
        return self._samples

    def number(self, sample: npt.NDArray[Any]) -> int:
        """The number of a sample; a new sample gets a new number."""
        key, found = self._find(sample)
        if found is not None:
            return found
        self._by_key.setdefault(key, []).append(len(self._samples))
        self._samples.append(np.array(sample))
        return len(self._samples) - 1

    def known(self, sample: npt.NDArray[Any]) -> int:
        """The number of a sample, -1 for one without a number."""
        found = self._find(sample)[1]
        return -1 if found is None else found

    def _find(self, sample: npt.NDArray[Any]) -> tuple[bytes, int | None]:
        """Key and number of a sample."""
        flat = sample.reshape(-1)
        whole = flat.size <= _KEY
        key = (flat if whole else flat[:: flat.size // _KEY]).tobytes()
        for number in self._by_key.get(key, ()):
            if whole or np.array_equal(self._samples[number], sample):
                return key, number
        return key, None

    def forget(self, count: int) -> None:
        """Keep only the first ``count`` samples."""
        del self._samples[count:]
        for same in self._by_key.values():
            same[:] = [number for number in same if number < count]
