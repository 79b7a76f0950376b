"""The split of subjects into training, validation and test (paper: about 80/10/10 by subject, not by image)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from siamplex.corpus.index import CorpusIndex, plain_subject
from siamplex.corpus.table import ALIASES as SUBJECT_ALIASES
from siamplex.errors import InputError, UsageError
from siamplex.randomness import numpy_stream
from siamplex.run.durable import write_text
from siamplex.schema.csv_files import read_rows

SPLITS = ("train", "val", "test")
_ALIASES = {"subject": SUBJECT_ALIASES["subject"], "split": frozenset({"set", "partition"})}


def draw_split(subjects: Sequence[str], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> dict[str, str]:
    """Assign each subject to a split, at random but the same for the same seed and subjects.

    A split whose fraction is above zero gets at least one subject.  Raises UsageError where that
    cannot be, or the fractions do not add up to 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(f"--fractions: expected three shares adding up to 1, found {list(fractions)}")
    count = len(subjects)
    val, test = (max(1, round(count * f)) if f > 0 else 0 for f in fractions[1:])
    train = count - val - test
    if train < 0 or (train == 0) != (fractions[0] == 0):
        raise UsageError(f"{count} subjects do not fill splits of {list(fractions)}")
    order = [sorted(subjects)[i] for i in numpy_stream(seed, "split").permutation(count)]
    names = ["train"] * train + ["val"] * val + ["test"] * test
    return dict(zip(order, names, strict=True))


def write_split(split: Mapping[str, str], path: Path) -> None:
    """Write ``subject,split`` rows, sorted by subject."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["subject", "split"])
    writer.writerows(sorted(split.items()))
    write_text(path, out.getvalue())


def read_split(path: Path, index: CorpusIndex) -> dict[str, str]:
    """Read a split file and check it against the index.

    Raises InputError for a subject without a split or in two, an unknown split, no training
    subject at all.
    """
    found: dict[str, str] = {}
    known = {plain_subject(subject): subject for subject in index.subjects}
    for where, row in read_rows(path, ("subject", "split"), "a readable split file", _ALIASES):
        # Excel makes 1 of a subject 01
        subject = known.get(plain_subject(row["subject"]), row["subject"])
        name = row["split"].lower()
        if name not in SPLITS:
            raise InputError(where, f"one of {', '.join(SPLITS)}", f"'{row['split']}'")
        if found.get(subject, name) != name:
            raise InputError(where, f"subject {subject} in one split", f"{found[subject]} and {name}")
        found[subject] = name
    missing = [s for s in index.subjects if s not in found]
    if missing:
        raise InputError(path, f"a split for subject {missing[0]}", "none")
    used = {s: found[s] for s in index.subjects}
    if "train" not in used.values():
        raise InputError(path, "a subject to train on", "none: the train split is empty")
    return used
