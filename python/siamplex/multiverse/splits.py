"""Folds over the subjects, and their pairs: each subject is in the test split once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siamplex.corpus.index import CorpusIndex
from siamplex.errors import InputError
from siamplex.pairs.pairing import Pairs, all_pairs
from siamplex.pairs.split import SPLITS
from siamplex.randomness import numpy_stream


def folds(subjects: Sequence[str], count: int, seed: int) -> list[dict[str, str]]:
    """The split of each subject in each of ``count`` folds: one part tests, the next validates, the others train.

    The parts are drawn by ``seed`` and differ by one subject at most.  Raises InputError where there are fewer subjects
    than parts.
    """
    if len(subjects) < count:
        raise InputError("folds", f"at most as many as there are subjects, {len(subjects)}", str(count))
    order = [sorted(subjects)[i] for i in numpy_stream(seed, "folds").permutation(len(subjects))]
    part = {subject: at % count for at, subject in enumerate(order)}
    role = {0: "test", 1: "val"}
    return [{s: role.get((part[s] - fold) % count, "train") for s in sorted(subjects)} for fold in range(count)]


def shuffled_labels(index: CorpusIndex, seed: int, purpose: str) -> list[str]:
    """The emotion of each image, with the names of the emotions permuted at random within each subject.

    Images of one subject that show one emotion still share a label, but the label says nothing about other subjects.
    ``purpose`` distinguishes shuffles of one seed.
    """
    renamed: dict[tuple[str, str], str] = {}
    for subject in index.subjects:
        own = sorted({entry.emotion for entry in index.entries if entry.subject == subject})
        order = numpy_stream(seed, "shuffled labels", purpose, subject).permutation(len(own))
        renamed |= {(subject, emotion): own[at] for emotion, at in zip(own, order, strict=True)}
    return [renamed[(entry.subject, entry.emotion)] for entry in index.entries]


def pairs_of(
    index: CorpusIndex, split: dict[str, str], emotions: Sequence[str], seed: int, balance: bool
) -> dict[str, Pairs]:
    """The pairs of each split, in the order that ``siamplex pairs --seed`` gives them."""
    return {
        name: all_pairs(
            np.flatnonzero([split[entry.subject] == name for entry in index.entries]).tolist(),
            emotions, seed, name, balance,
        )
        for name in SPLITS
    }  # fmt: skip
