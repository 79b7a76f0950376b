"""Confusions predicted from the embedding, compared with people's: by emotion and by picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from siamplex.similarity.compare import relabellings, spearman, unit
from siamplex.similarity.shuffles import p_of, within

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ByEmotion:
    """Mean shares (C, C), a row an emotion shown: ``predicted`` from the embedding, and ``people``'s.

    ``spearman`` is of the cells off the diagonal, ``p`` over relabellings of the emotions; None for fewer than three.
    """

    emotions: tuple[str, ...]
    predicted: list[list[float]]
    people: list[list[float]]
    spearman: float | None
    p: float | None


@dataclass(frozen=True)
class ByPicture:
    """``overlap``: what predicted and people's shares have in common, 0 to 1, averaged over pictures.

    ``doubt``: Spearman's rho, over pictures, of the shares of emotions other than the one shown.  Each comes with its
    mean under shuffles of pictures within their emotion, and with the share of shuffles that reach it.
    """

    images: int
    overlap: float
    overlap_within: float
    overlap_p: float
    doubt: float
    doubt_within: float
    doubt_p: float


def by_emotion(predicted: Floats, people: Floats, shown: Labels, emotions: tuple[str, ...]) -> ByEmotion:
    """Compare shares (M, C) of M pictures whose emotion is ``shown`` (M,), as means over each emotion's pictures.

    Every emotion must have a picture.
    """
    count = len(emotions)
    member = np.eye(count)[shown]
    tables = [np.round(member.T @ shares / member.sum(axis=0)[:, None], 12) for shares in (predicted, people)]
    rho = p = None
    if count > 2:
        off = ~np.eye(count, dtype=bool)
        orders = np.array(relabellings(count))
        moved = tables[0][orders[:, :, None], orders[:, None, :]][:, off]  # (relabellings, C (C - 1))
        found = spearman(moved, tables[1][off])
        rho, p = float(found[0]), p_of(found)
    return ByEmotion(emotions, tables[0].tolist(), tables[1].tolist(), rho, p)


def by_picture(predicted: Floats, people: Floats, shown: Labels, seed: int) -> ByPicture:
    """Compare shares (M, C) picture by picture."""
    places = np.arange(len(shown))
    doubts = [unit(rankdata(np.round(1 - shares[places, shown], 12))) for shares in (predicted, people)]
    overlaps, rhos = [], []
    for order in within(shown, seed, "confusions"):
        overlaps.append(np.minimum(predicted[order], people).sum() / len(shown))
        rhos.append(doubts[0][order] @ doubts[1])
    overlap, doubt = np.array(overlaps), np.array(rhos)
    return ByPicture(
        len(shown), float(overlap[0]), float(overlap[1:].mean()), p_of(overlap), float(doubt[0]),
        float(doubt[1:].mean()), p_of(doubt),
    )  # fmt: skip
