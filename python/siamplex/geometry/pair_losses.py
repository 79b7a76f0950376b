"""Whether a net has learnt anything: its pair losses compared with the label-blind loss.

The label-blind loss is the loss of the same embedding with its images shuffled among the pairs: each pair's two images
are replaced by two others, drawn from all.  A net that only scales its points to suit the share of same pairs reaches
this loss.  A net that tells expressions apart gets below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from siamplex.geometry.orders import Points, singular_ratio


@dataclass(frozen=True)
class PairLosses:
    """Mean contrastive loss of some pairs in the TEST phase (no dropout), and its label-blind counterpart."""

    loss: float
    label_blind: float


def contrastive(
    squared: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], margin: float = 1.0, legacy: bool = False
) -> float:
    """Caffe's ContrastiveLoss, 1/(2P) sum of y d^2 + (1 - y) max(margin - d, 0)^2, of P squared distances (P,)."""
    return float(np.where(same, squared, _push(squared, margin, legacy)).mean() / 2)


def label_blind(points: Points, share: float, margin: float = 1.0, legacy: bool = False) -> float:
    """The expected loss of points (N, D) shuffled among pairs of which a ``share`` are the same: all pairs i < j.

    N at least 2.
    """
    points = np.asarray(points, np.float64)
    pull = push = 0.0
    for i in range(len(points) - 1):  # a row at a time: no (N, N, D)
        squared = ((points[i + 1 :] - points[i]) ** 2).sum(axis=1)
        pull += float(squared.sum())
        push += float(_push(squared, margin, legacy).sum())
    return (share * pull + (1 - share) * push) / (len(points) * (len(points) - 1))


def pair_losses(
    points: Points,
    first: npt.NDArray[np.integer],
    second: npt.NDArray[np.integer],
    same: npt.NDArray[np.bool_],
    margin: float = 1.0,
    legacy: bool = False,
) -> PairLosses:
    """Losses of points (N, D) over pairs that ``first`` and ``second`` (P,) number; ``same`` (P,) are the labels.

    The label-blind loss shuffles the images that are in a pair.  P at least 1.
    """
    points = np.asarray(points, np.float64)
    squared = ((points[first] - points[second]) ** 2).sum(axis=1)
    present = points[np.unique(np.concatenate([first, second]))]
    share = float(same.mean())
    blind = label_blind(present, share, margin, legacy) if len(present) > 1 else float("nan")
    return PairLosses(contrastive(squared, same, margin, legacy), blind)


def all_pair_losses(points: Points, labels: npt.NDArray[np.str_], margin: float = 1.0) -> PairLosses | None:
    """The same over every pair of images (N, D), labelled by equal ``labels`` (N,); None for fewer than two."""
    if len(points) < 2:
        return None
    first, second = np.triu_indices(len(points), 1)
    return pair_losses(points, first, second, labels[first] == labels[second], margin)


def classes_of(
    count: int, first: npt.NDArray[np.integer], second: npt.NDArray[np.integer], same: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Classes (N,) of ``count`` images from their pairs alone: images joined by same pairs share a class."""
    edges = coo_array((np.ones(int(same.sum()), bool), (first[same], second[same])), shape=(count, count))
    return np.asarray(connected_components(edges, directed=False)[1], np.int64)


def ratio_of_classes(points: Points, classes: npt.NDArray[np.int64]) -> float | None:
    """Ratio of the singular values of the classes' means (:func:`singular_ratio`); None for fewer than three.

    Classes of one image are left out.
    """
    names, counts = np.unique(classes, return_counts=True)
    means = [np.asarray(points, np.float64)[classes == name].mean(axis=0) for name in names[counts > 1]]
    return singular_ratio(np.array(means)) if len(means) > 2 and points.shape[1] > 1 else None


def _push(squared: npt.NDArray[np.float64], margin: float, legacy: bool) -> npt.NDArray[np.float64]:
    if legacy:
        return np.maximum(margin - squared, 0)
    return np.maximum(margin - np.sqrt(squared), 0) ** 2
