"""Baselines for the multiverse: the paper's alternative methods on the same images, and a ceiling.

These methods depend on rows of pixels or of conv3 only through inner products.  Rows are first turned into as many
coordinates as there are images: this changes no distance and uses no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist, squareform

from siamplex.errors import InputError, SiamplexError
from siamplex.faces.difficulty import told
from siamplex.geometry.embedding import Embedding
from siamplex.geometry.extraction import embed
from siamplex.multiverse.draws import Weights
from siamplex.multiverse.outcomes import OUTCOMES, Measured, held_out, measure_embedding, record_accuracy
from siamplex.pairs.build import OpenedStore, open_store
from siamplex.pairs.images import stored_images
from siamplex.run.progress import say
from siamplex.similarity.mds import classical
from siamplex.similarity.rdm import Rdm

PCA, METRIC, NONMETRIC, CEILING = "PCA", "metric MDS", "non-metric MDS", "linear discriminant"
PIXELS, CONV3 = "pixels", "conv3"
_ITERATIONS = 300  # of SMACOF
_EPS = 1e-6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Coordinates (N, M) float64 of named images, with the same distances as the rows they were made of."""

    images: list[str]
    rows: Floats

    @classmethod
    def of(cls, images: Sequence[str], values: npt.NDArray[np.floating]) -> Features:
        """From rows (N, D) of any width: the same distances in N coordinates or fewer."""
        centred = np.asarray(values, np.float64)
        centred = centred - centred.mean(axis=0)
        size, axes = np.linalg.eigh(centred @ centred.T)
        keep = size > 1e-10 * max(size[-1], 1e-300)
        return cls(list(images), axes[:, keep][:, ::-1] * np.sqrt(size[keep][::-1]))


@dataclass(frozen=True)
class Baseline:
    """A method's map of one fold, measured as cells are; the ceiling has a held-out accuracy only.

    A method that places no held-out faces has no held-out accuracy.
    """

    method: str
    features: str
    fold: int
    measured: Measured


def features_of(run: Path, device: str = "cpu") -> tuple[dict[str, Features], list[str]]:
    """Pixels and conv3 of the images of a run's pair store, as its net sees them; missing ones are reported.

    conv3 is taken after its ReLU, at the run's own input scale: from the features that the multiverse keeps for its
    cells, or else computed with ``weights/init.caffemodel``.
    """
    found, notes = {}, []
    folder = run / "pairs"
    try:
        store = open_store(folder)
        names = [entry.image for entry in store.index.entries]
        pixels = stored_images(store, folder)
        found[PIXELS] = Features.of(names, pixels.reshape(len(names), -1))
        found[CONV3] = Features.of(names, _conv3(run, store, device))
    except SiamplexError as error:
        lacking = " and ".join(name for name in (PIXELS, CONV3) if name not in found)
        notes.append(f"no baselines of {lacking}: {error}")
    return found, notes


def _conv3(run: Path, store: OpenedStore, device: str) -> npt.NDArray[np.floating]:
    """Activations (N, D) of conv3 for the images of a run's store.  Raises InputError or PrototxtError."""
    kept = run / "multiverse" / "features" / f"scale_{float(store.store.options['scale']):.9g}" / "features.npy"
    if kept.is_file():
        try:
            rows = np.lib.format.open_memmap(kept, mode="r")  # numbers alone, never pickles
        except (OSError, ValueError, EOFError) as error:
            raise InputError(kept, "features of the images, one row each", str(error)) from None
        if rows.ndim != 2 or len(rows) != len(store.index) or rows.dtype.kind != "f":
            raise InputError(kept, f"features of {len(store.index)} images", f"{rows.shape} of {rows.dtype}")
        return np.asarray(rows)
    deploy, weights = run / "prototxt" / "deploy.prototxt", run / "weights" / "init.caffemodel"
    return embed(store, run / "pairs", deploy, weights, CONV3, 16, device).points


def baselines(
    features: Mapping[str, Features], folds: Mapping[int, Embedding], people: Rdm | None, subjects: Weights
) -> list[Baseline]:
    """Run every method on every kind of features and every fold.

    ``folds`` are embeddings of all images of ``features``.  Only their subjects, emotions and splits are used, not
    their points.
    """
    return [made for name, rows in features.items() for made in _of_features(name, rows, folds, people, subjects)]


def _of_features(
    name: str, features: Features, folds: Mapping[int, Embedding], people: Rdm | None, subjects: Weights
) -> Iterator[Baseline]:
    for fold, split in sorted(folds.items()):
        say(f"baselines of {name}, fold {fold}")
        at = {image: i for i, image in enumerate(features.images)}
        rows = features.rows[[at[image] for image in split.images]]
        for method, embedding in maps(rows, split).items():
            yield Baseline(method, name, fold, measure_embedding(embedding, people, subjects))
        if name == CONV3 and (measured := ceiling(rows, split, subjects)):
            yield Baseline(CEILING, name, fold, measured)


def maps(rows: Floats, split: Embedding) -> dict[str, Embedding]:
    """Maps in two dimensions by PCA, metric and non-metric MDS, fitted to the training subjects' rows of (N, M).

    PCA (scikit-learn's) can place images it was not fitted to.  MDS cannot: its embeddings hold the training subjects'
    images alone.  Both forms of MDS are SMACOF from classical scaling, 300 iterations at most.  The result is empty
    where fewer than three rows differ.
    """
    from sklearn.decomposition import PCA as Components

    seen = np.array([s == "train" for s in split.splits], bool)
    fitted = rows[seen]
    if len(fitted) < 3 or min(np.linalg.matrix_rank(fitted - fitted.mean(axis=0)), fitted.shape[1]) < 2:
        return {}
    points = Components(2, svd_solver="full").fit(fitted).transform(rows)
    train = split.of_split("train")
    found = {PCA: replace(split, points=np.asarray(points, np.float32))}
    distances = squareform(pdist(fitted))
    for method in (METRIC, NONMETRIC):
        placed = _scaled(distances, method == METRIC)
        found[method] = replace(train, points=np.asarray(placed, np.float32))
    return found


def _scaled(distances: Floats, metric: bool) -> Floats:
    """A map (N, 2) of distances by SMACOF."""
    from sklearn.manifold import smacof

    asked = distances / distances.max()
    start = classical(asked)
    if not metric:
        # scikit-learn's non-metric form reads 0 as missing; any value below all others has the same order
        off = ~np.eye(len(asked), dtype=bool)
        asked[off & (asked <= 0)] = 1e-6 * asked[asked > 0].min()
    points = smacof(
        asked, metric=metric, n_components=2, init=start, n_init=1, max_iter=_ITERATIONS, eps=_EPS, random_state=0,
        normalized_stress=False,
    )[0]  # fmt: skip
    return np.asarray(points, np.float64)


def ceiling(rows: Floats, split: Embedding, subjects: Weights) -> Measured | None:
    """Held-out accuracy of a linear discriminant of rows (N, M), fitted to the training subjects' emotions.

    It is that of :func:`siamplex.faces.difficulty.told`: 200 principal components at most, covariance shrunk as by
    Ledoit and Wolf.  None where nobody is held out, or the training subjects show one emotion.
    """
    held = held_out(split)
    train = split.of_split("train")
    if not len(held) or len(set(train.emotions)) < 2:
        return None
    keep = [i for i, s in enumerate(split.splits) if s == "train" or s == held.splits[0]]
    rows = rows[keep] - rows[keep].mean(axis=0)
    seen = np.array([split.splits[i] == "train" for i in keep], bool)
    guesses = told(rows @ rows.T, seen, np.array([split.emotions[i] for i in keep]))
    found = Measured(dict.fromkeys(OUTCOMES))
    record_accuracy(found, guesses == np.array(held.emotions), held, subjects)
    return found
