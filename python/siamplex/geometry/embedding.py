"""Embeddings: the fc6 activations of every image of a corpus under one snapshot, and their files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.corpus.emotions import NAMES
from siamplex.errors import InputError
from siamplex.run.durable import atomic_file, write_text
from siamplex.run.output_names import ending
from siamplex.schema.array_files import read_arrays
from siamplex.schema.file_kinds import EMBEDDING
from siamplex.schema.instead import instead
from siamplex.schema.json_files import parse_object


@dataclass(frozen=True)
class Embedding:
    """Points (N, D) float32 of N images, with each image's name, subject, emotion, split.

    ``facts`` records where they come from: snapshot, its hash, iteration, notes for figures.
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
