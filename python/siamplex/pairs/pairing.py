"""All unordered pairs of the images of a split, labelled same or different, shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siamplex.randomness import numpy_stream


@dataclass(frozen=True)
class Pairs:
    """Pairs of one split: ``first`` < ``second`` index the corpus (int32, (P,)); ``same`` is (P,) bool.

    ``same`` is Caffe's label 1 (the paper's Y = 0).
    """

    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    same: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.first)


def all_pairs(members: Sequence[int], emotions: Sequence[str], seed: int, purpose: str, balance: bool = False) -> Pairs:
    """Every unordered pair of ``members`` (positions in the corpus), shuffled by the seed.

    ``emotions`` holds the emotion of every position.  ``balance`` keeps as many different as same
    pairs, chosen at random (the paper keeps all, about one same in five).
    """
    where = np.asarray(members, np.int32)
    # 32 bits an index: of 16,000 images there are 128 million pairs
    later = np.arange(len(where) - 1, -1, -1)
    first = np.repeat(where, later)
    second = np.concatenate([where[i + 1 :] for i in range(len(where))] or [where])
    codes = np.unique(np.asarray(emotions), return_inverse=True)[1].astype(np.int16)
    same = codes[first] == codes[second]
    stream = numpy_stream(seed, "pairs", purpose)
    order = stream.permutation(len(first))
    if balance:
        shuffled = same[order]
        count = int(min(shuffled.sum(), (~shuffled).sum()))
        keep = np.concatenate([np.flatnonzero(shuffled)[:count], np.flatnonzero(~shuffled)[:count]])
        order = order[np.sort(keep)]
    return Pairs(first[order], second[order], same[order])
