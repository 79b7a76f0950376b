"""Mean activation patterns of emotions in one layer, and the dissimilarities computed from them.

A cell is the mean activation over the images of one subject and one emotion.  An emotion's pattern is the mean of its
cells, so that each subject counts once, however many images there are.  All distances follow from the cells' inner
products: subjects can be resampled without reading the layer again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import ordered
from siamplex.pairs.build import OpenedStore
from siamplex.run.progress import Progress
from siamplex.similarity.rdm import Rdm, from_products

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Patterns:
    """Cells of one layer: inner products (C, C) float64, subject and emotion of each.

    ``method`` says which distance the products are for: for ``correlation`` each cell is centred over features.
    ``items`` are the emotions compared (those present, in the paper's order), even where some subjects lack one.
    """

    layer: str
    method: str
    products: Floats
    subjects: tuple[str, ...]
    emotions: tuple[str, ...]
    items: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.items:
            object.__setattr__(self, "items", ordered(set(self.emotions)))

    @property
    def names(self) -> list[str]:
        """Subjects, sorted."""
        return sorted(set(self.subjects))

    def of_subjects(self, chosen: Sequence[str]) -> Patterns:
        """The cells of some subjects only."""
        keep = [i for i, s in enumerate(self.subjects) if s in set(chosen)]
        return Patterns(
            self.layer, self.method, self.products[np.ix_(keep, keep)],
            tuple(self.subjects[i] for i in keep), tuple(self.emotions[i] for i in keep),
            self.items,
        )  # fmt: skip

    def rdm(self, times: dict[str, int] | None = None) -> Rdm | None:
        """Dissimilarities of the emotions (``items``); subjects count ``times`` (1 each).

        None where an emotion is shown by none of them.
        """
        weights = np.zeros((len(self.items), len(self.subjects)))
        for i, (subject, emotion) in enumerate(zip(self.subjects, self.emotions, strict=True)):
            weights[self.items.index(emotion), i] = 1 if times is None else times.get(subject, 0)
        total = weights.sum(axis=1, keepdims=True)
        if not total.all():
            return None
        weights /= total
        return from_products(weights @ self.products @ weights.T, self.items, self.method)


def cells(values: npt.NDArray[np.floating], subjects: Sequence[str], emotions: Sequence[str]) -> tuple[
    Floats, tuple[str, ...], tuple[str, ...]
]:  # fmt: skip
    """Means (C, D) of the rows (N, D) of each subject and emotion, in sorted order, with their labels."""
    keys = sorted(set(zip(subjects, emotions, strict=True)))
    where = {key: i for i, key in enumerate(keys)}
    at = np.array([where[key] for key in zip(subjects, emotions, strict=True)])
    sums = np.zeros((len(keys), values.shape[1]))
    np.add.at(sums, at, values)
    sums /= np.bincount(at, minlength=len(keys))[:, None]
    return sums, tuple(k[0] for k in keys), tuple(k[1] for k in keys)


def gather(
    layer: str, method: str, values: npt.NDArray[np.floating], subjects: Sequence[str], emotions: Sequence[str]
) -> Patterns:
    """Patterns of activations (N, D)."""
    means, who, what = cells(values, subjects, emotions)
    if method == "correlation":
        means -= means.mean(axis=1, keepdims=True)
    return Patterns(layer, method, means @ means.T, who, what)


def of_embedding(embedding: Embedding) -> Patterns:
    """Patterns of an embedding, compared by Euclidean distance."""
    return gather(str(embedding.facts.get("blob", "fc6")), "euclidean", embedding.points, embedding.subjects,
                  embedding.emotions)  # fmt: skip


def of_layers(
    store: OpenedStore, folder: Path, deploy: Path, weights: Path, layers: Sequence[str], device: str, batch: int = 16
) -> list[Patterns]:
    """Patterns of some blobs of the tower, for all images of a pair store.

    Distances are 1 - r; in layers of two units, where r says nothing, they are Euclidean.  Raises InputError or
    PrototxtError.
    """
    import torch

    from siamplex.engine.net.layer import Context
    from siamplex.geometry.extraction import open_tower

    net, images = open_tower(store, folder, deploy, weights, device)
    for name in layers:
        if name not in net.shapes:
            raise InputError(deploy, f"a blob '{name}'", f"none (there are {', '.join(net.shapes)})")
    entries = store.index.entries
    keys = sorted({(e.subject, e.emotion) for e in entries})
    where = {key: i for i, key in enumerate(keys)}
    at = np.array([where[(e.subject, e.emotion)] for e in entries])
    sums = {n: np.zeros((len(keys), int(np.prod(net.shapes[n][1:])))) for n in layers}
    progress = Progress(f"layers of {weights.name}", len(images))
    with torch.no_grad():
        for start in range(0, len(images), batch):
            chunk = np.array(images[start : start + batch], np.float32)
            blobs = net.forward(Context(train=False), {net.inputs[0]: torch.from_numpy(chunk)})[1]
            for name in layers:
                for cell, row in zip(at[start : start + batch], blobs[name].flatten(1).cpu().numpy(), strict=True):
                    sums[name][cell] += row
            progress.step(len(chunk))
    progress.close()
    counts = np.bincount(at, minlength=len(keys))[:, None]
    found = []
    for name in layers:
        method = "correlation" if sums[name].shape[1] > 3 else "euclidean"
        means = sums[name] / counts
        found.append(gather(name, method, means, [k[0] for k in keys], [k[1] for k in keys]))
    return found
