"""People's responses to the images of an embedding: profiles, shares, and how far apart profiles are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import ordered
from siamplex.similarity.matching import Matching
from siamplex.similarity.matrices import Judgements
from siamplex.similarity.picture_table import PictureTable

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_DIGITS = 9  # of a distance: profiles that are alike must tie, whatever rounding made of them


@dataclass(frozen=True)
class Responses:
    """E responses to N images (``count``) of K ``answers``.

    ``image``, ``answer``, ``rater`` (E,) int64; ``amount`` (E,) float64; ``raters`` how many there are, 0 where the
    table does not say who answered.
    """

    count: int
    answers: tuple[str, ...]
    image: Indices
    answer: Indices
    rater: Indices
    amount: Floats
    raters: int

    def totals(self, raters: npt.NDArray[np.bool_] | None = None) -> Floats:
        """Responses (N, K) summed over all raters, or over those where ``raters`` (R,) is true."""
        weights = self.amount if raters is None else self.amount * raters[self.rater]
        width = len(self.answers)
        sums = np.bincount(self.image * width + self.answer, weights, self.count * width)
        return np.asarray(sums, np.float64).reshape(self.count, width)

    def judged(self) -> npt.NDArray[np.bool_]:
        """Which images (N,) have any response."""
        return self.totals().sum(axis=1) > 0

    def of_images(self, keep: Sequence[int] | Indices) -> Responses:
        """The responses to some images, which are then numbered as in ``keep``."""
        places = np.full(self.count, -1)
        places[np.asarray(keep, np.int64)] = np.arange(len(keep))
        mine = places[self.image] >= 0
        return Responses(
            len(keep), self.answers, places[self.image[mine]], self.answer[mine], self.rater[mine], self.amount[mine],
            self.raters,
        )  # fmt: skip

    def shares(self, names: Sequence[str]) -> Floats:
        """Shares (N, C) of the answers ``names`` among themselves; rows of zeros where none of them was given."""
        totals = self.totals()
        found = np.zeros((self.count, len(names)))
        for at, name in enumerate(names):
            if name in self.answers:
                found[:, at] = totals[:, self.answers.index(name)]
        sums = found.sum(axis=1, keepdims=True)
        return np.divide(found, sums, out=np.zeros_like(found), where=sums > 0)


def responses_of(table: PictureTable, matching: Matching, count: int) -> Responses:
    """The responses to ``count`` images, matched; those to other pictures are left out.

    Raises InputError where a table of a row a picture has one image by two names.
    """
    if table.form == "wide":
        first: dict[tuple[int, int], int] = {}
        keys = {(int(p), int(r)) for p, r in zip(table.picture, table.rater, strict=True)}
        for picture, rater in sorted(keys):
            place = matching.places[picture]
            if place is None:
                continue
            other = first.setdefault((place, rater), picture)
            if other != picture:
                raise InputError(
                    table.lines[picture], "each picture once",
                    f"'{table.pictures[picture]}', which '{table.pictures[other]}' is too",
                )  # fmt: skip
    places = np.array([-1 if place is None else place for place in matching.places], np.int64)[table.picture]
    mine = places >= 0
    return Responses(
        count, table.answers, places[mine], table.answer[mine], table.rater[mine], table.amount[mine], len(table.raters)
    )  # fmt: skip


def profile_distances(profiles: Floats) -> Floats:
    """Distances (M, M) of profiles (M, K): 1 - their correlation, 1 where one is flat.

    A correlation does not ask whether rows are shares, counts or ratings.
    """
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    least = 1e-12 * np.abs(profiles).max(axis=1, keepdims=True, initial=0)
    unit = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > least)
    distances = np.clip(np.round(1 - unit @ unit.T, _DIGITS), 0, 2)
    np.fill_diagonal(distances, 0)
    return np.asarray(distances, np.float64)


def emotion_confusions(responses: Responses, embedding: Embedding) -> Judgements | None:
    """Confusions of the embedding's emotions: the mean shares of the pictures of each, each picture counting once.

    None where an emotion has no picture with any of these answers.
    """
    emotions = ordered(set(embedding.emotions))
    shares = responses.shares(emotions)
    answered = shares.sum(axis=1) > 0
    labels = np.array(embedding.emotions)
    rows = [shares[(labels == e) & answered] for e in emotions]
    if not all(map(len, rows)):
        return None
    return Judgements(emotions, np.array([row.mean(axis=0) for row in rows]), "confusion")
