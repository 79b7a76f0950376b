"""The embedding of every image of a corpus under one snapshot: fc6 activations, kept and read back."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from siamplex.corpus.emotions import NAMES
from siamplex.errors import InputError
from siamplex.pairs.build import OpenedStore
from siamplex.run.durable import atomic_file, sha256, write_text
from siamplex.run.output_names import ending
from siamplex.schema.array_files import read_arrays
from siamplex.schema.blobs import Array
from siamplex.schema.file_kinds import EMBEDDING
from siamplex.schema.instead import instead
from siamplex.schema.json_files import parse_object

if TYPE_CHECKING:  # torch is loaded only where a net runs
    from siamplex.engine.net.net import Net


@dataclass(frozen=True)
class Embedding:
    """Points (N, D) float32 of N images, with each image's name, subject, emotion, split.

    ``facts`` say where they come from: snapshot, its hash, iteration, notes for figures.
    """

    points: npt.NDArray[np.float32]
    images: list[str]
    subjects: list[str]
    emotions: list[str]
    splits: list[str]
    facts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    def of_split(self, *names: str) -> Embedding:
        """The images of some splits only."""
        keep = [i for i, s in enumerate(self.splits) if s in names]

        def pick(values: list[str]) -> list[str]:
            return [values[i] for i in keep]

        return Embedding(
            self.points[keep],
            pick(self.images),
            pick(self.subjects),
            pick(self.emotions),
            pick(self.splits),
            self.facts,
        )


def open_tower(store: OpenedStore, folder: Path, deploy: Path, weights: Path, device: str) -> tuple[Net, Array]:
    """The tower of ``deploy`` with ``weights``, and the images (N, 3, size, size) it was trained on.

    Images come from the store's table (or are read again from their files when pairs are
    stacked), so that they are the very ones trained on.  Raises InputError or PrototxtError.
    """
    from siamplex.engine.net.net import Net
    from siamplex.engine.net.net_kinds import check_deploy
    from siamplex.engine.training.solver import choose_device
    from siamplex.pairs.images import stored_images
    from siamplex.schema import prototxt
    from siamplex.schema.weights import read_caffemodel

    source = prototxt.read(deploy, "NetParameter")
    check_deploy(source)
    net = Net(source, "TEST", device=choose_device(device))
    if len(net.inputs) != 1:
        raise InputError(deploy, "one input", f"{len(net.inputs)}")
    net.load(read_caffemodel(weights), weights)
    found = net.unfilled(learning=False)
    if found:
        raise net.refuse_unfilled(found, [weights], option="")
    images = stored_images(store, folder)
    expected = net.shapes[net.inputs[0]][1:]
    if images.shape[1:] != expected:
        raise InputError(deploy, f"an input of {images.shape[1:]} as in {folder}", f"{expected}")
    return net, images


def embed(
    store: OpenedStore,
    folder: Path,
    deploy: Path,
    weights: Path,
    blob: str,
    batch: int,
    device: str,
    engine: str = "torch",
) -> Embedding:
    """Run every image of a pair store through ``deploy`` with ``weights``; take the blob ``blob``.

    Raises InputError or PrototxtError.
    """
    from siamplex.engine.training.snapshot import check_own, iteration_of, note_of

    check_own(weights)
    points = (_by_caffe if engine == "caffe" else _by_torch)(store, folder, deploy, weights, blob, batch, device)
    entries = store.index.entries
    notes = [note_of(weights) or f"the origin of {weights.name} is not recorded"]
    if store.index.synthetic:
        notes.append("faces are synthetic (drawn by siamplex)")
    return Embedding(
        points,
        [e.image for e in entries],
        [e.subject for e in entries],
        [e.emotion for e in entries],
        [store.split[e.subject] for e in entries],
        {
            "weights": weights.name,
            "iteration": iteration_of(weights),
            "sha256": sha256(weights),
            "blob": blob,
            "engine": engine,
            "notes": notes,
        },
    )


def _by_torch(
    store: OpenedStore, folder: Path, deploy: Path, weights: Path, blob: str, batch: int, device: str
) -> npt.NDArray[np.float32]:
    """Activations (N, D) by the embedded engine."""
    import torch

    from siamplex.engine.net.layer import Context
    from siamplex.run.progress import Progress

    net, images = open_tower(store, folder, deploy, weights, device)
    rows = []
    progress = Progress(f"embed {weights.name}", len(images))
    with torch.no_grad():
        for start in range(0, len(images), batch):
            chunk = np.array(images[start : start + batch], np.float32)
            given = {net.inputs[0]: torch.from_numpy(chunk)}
            values = net.forward(Context(train=False), given, until=blob)[1][blob]
            rows.append(values.reshape(len(chunk), -1).cpu().numpy())
            progress.step(len(chunk))
    progress.close()
    return np.concatenate(rows)


def _by_caffe(
    store: OpenedStore, folder: Path, deploy: Path, weights: Path, blob: str, batch: int, device: str
) -> npt.NDArray[np.float32]:
    """Activations (N, D) by the caffe binary's own tool."""
    from siamplex.caffe_engine.features import extract
    from siamplex.pairs.images import stored_images

    return extract(deploy, weights, stored_images(store, folder), blob, batch, device)


def write_embedding(embedding: Embedding, stem: Path) -> None:
    """Write ``stem.npz`` and ``stem.csv`` (image, subject, emotion, split, x, y, ...)."""
    with atomic_file(ending(stem, ".npz")) as handle:
        np.savez(
            handle,
            points=embedding.points,
            images=np.array(embedding.images),
            subjects=np.array(embedding.subjects),
            emotions=np.array(embedding.emotions),
            splits=np.array(embedding.splits),
            facts=np.array(json.dumps(embedding.facts)),
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    width = embedding.points.shape[1]
    axes = ["x", "y", "z"][:width] if width <= 3 else [f"x{i}" for i in range(width)]
    writer.writerow(["image", "subject", "emotion", "split", *axes])
    for i, point in enumerate(embedding.points):
        row = [
            embedding.images[i],
            embedding.subjects[i],
            embedding.emotions[i],
            embedding.splits[i],
        ]
        writer.writerow([*row, *(f"{v:.9g}" for v in point)])
    write_text(ending(stem, ".csv"), out.getvalue())


def read_embedding(path: Path) -> Embedding:
    """Read a ``.npz`` written by :func:`write_embedding`.  Raises InputError."""
    what = "an embedding (siamplex extract)"
    content = read_arrays(path, what)
    try:
        images, subjects, emotions, splits = (
            [str(x) for x in content[name].ravel()] for name in ("images", "subjects", "emotions", "splits")
        )
        points = np.asarray(content["points"], np.float32)
        facts = parse_object(str(content["facts"]), path, what)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(path, what, instead(path, EMBEDDING, f"no {error}")) from None
    embedding = Embedding(points, images, subjects, emotions, splits, facts)
    lengths = {
        len(embedding.points),
        *map(len, (embedding.subjects, embedding.emotions, embedding.splits)),
    }
    if embedding.points.ndim != 2 or lengths != {len(embedding)} or not set(embedding.emotions) <= set(NAMES):
        raise InputError(path, "points with subject, emotion and split each", "arrays that do not meet")
    return embedding
