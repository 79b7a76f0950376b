"""People's judgements of the emotions of a run, for comparison with its cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from siamplex.corpus.emotions import NAMES
from siamplex.errors import UsageError
from siamplex.geometry.embedding import Embedding
from siamplex.pairs.build import open_store
from siamplex.similarity.human import read_human
from siamplex.similarity.picture_report import PictureJudgements
from siamplex.similarity.picture_table import PictureTable
from siamplex.similarity.rdm import Rdm

FEWEST = 3  # emotions that make distances to correlate


def check_people(run: Path, human: Path) -> None:
    """Refuse judgements that cannot be compared with the cells of ``run``, before any cell is trained.

    Raises InputError or UsageError.
    """
    entries = open_store(run / "pairs").index.entries
    blank = Embedding(
        np.zeros((len(entries), 2), np.float32), [e.image for e in entries], [e.subject for e in entries],
        [e.emotion for e in entries], ["train"] * len(entries), {},
    )  # fmt: skip
    read_people(human, blank, run)


def read_people(human: Path, shown: Embedding, run: Path) -> Rdm:
    """Dissimilarities by people, of the emotions that the images of ``shown`` show and that were judged.

    A matrix of emotions, or a table of judged pictures (:func:`~siamplex.similarity.human.read_human`); of confusions
    the profiles are compared.  Raises InputError, or UsageError for fewer than three emotions in common.
    """
    found = read_human(human)
    if isinstance(found, PictureTable):
        judged = PictureJudgements.of(found, shown, run / "pairs" / "pairs.json", run / "pairs").confusions(shown)
        if judged is None:
            raise UsageError(f"{human}: expected a judged picture of every emotion, found an emotion without one")
        found = judged
    both = [name for name in found.names if name in set(shown.emotions)]
    if len(both) < FEWEST:
        raise UsageError(
            f"{human}: expected {FEWEST} or more of {_words(sorted(set(shown.emotions)))}, found {_words(both)}"
        )
    return found.rdm().of(both)


def _words(names: Sequence[str]) -> str:
    return ", ".join(NAMES.get(name, name) for name in names) or "none"
