"""The finished cells of a multiverse: each a folder that is written whole or not at all.

``RUN/multiverse/cells/ID`` holds

- ``cell.json``: ``cell`` (its id), ``control``, ``seed``, ``fold``, ``settings``, ``learning``, ``about``;
- ``embedding.npz`` and ``.csv``: an ordinary embedding of all images with the splits of the fold.  A cell that diverged
  has none;
- ``train_val.prototxt`` and ``solver.prototxt``, as ``siamplex train`` takes them, where the cell was trained.

A cell's id is a hash of its control, seed, fold and settings: a grid finds its cells in whatever order they were
trained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding, read_embedding, write_embedding
from siamplex.run.durable import atomic_directory
from siamplex.schema.json_files import read_object

PAPER = ""  # an ordinary cell
SHUFFLED = "shuffled"  # trained on labels shuffled between the emotions of each subject
UNTRAINED = "untrained"  # the tower as initialised
CONTROLS = (PAPER, SHUFFLED, UNTRAINED)

Value = bool | int | float | str
_WHAT = "a cell of a multiverse (siamplex multiverse)"


@dataclass(frozen=True)
class CellLearning:
    """How a cell's training went.

    ``training`` and ``validation`` are losses over all pairs of the fold's train and validation subjects, without
    dropout, with the labels the cell was trained on; ``..._blind`` is the label-blind loss of the same points
    (:mod:`~siamplex.geometry.pair_losses`).  All are None if the cell ``diverged``; those of validation also for a fold
    without validation pairs.  ``seconds`` are those of its iterations.
    """

    training: float | None
    training_blind: float | None
    validation: float | None
    validation_blind: float | None
    diverged: bool
    seconds: float


@dataclass(frozen=True)
class StoredCell:
    """A finished cell.

    ``settings`` has every setting of the grid by name (:mod:`~siamplex.multiverse.grid` lists them).  For the control
    :data:`SHUFFLED` the emotions in :meth:`embedding` are the shuffled ones it was trained on, because the analysis
    must use no others; ``facts["shown"]`` has the emotions that the images show.  Cells of the control
    :data:`UNTRAINED` have only the settings that matter without training.
    """

    folder: Path
    cell: str
    control: str
    seed: int
    fold: int
    settings: Mapping[str, Value]
    learning: CellLearning
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def training(self) -> str:
        """The training that the cell was read from, by its id: cells of one training are not independent."""
        return str(self.about.get("training", self.cell))

    @property
    def embedding_path(self) -> Path:
        """Where the embedding lies; not there for a cell that diverged."""
        return self.folder / "embedding.npz"

    def embedding(self) -> Embedding:
        """All images, with the fold's splits ``train``, ``val``, ``test``.  Raises InputError where it diverged."""
        if self.learning.diverged:
            raise InputError(self.embedding_path, "the embedding of a cell that was trained", "a cell that diverged")
        return read_embedding(self.embedding_path)


def cells_folder(run: Path) -> Path:
    """Where the cells of a run lie."""
    return run / "multiverse" / "cells"


def write(run: Path, cell: StoredCell, embedding: Embedding | None, texts: Mapping[str, str]) -> None:
    """Store a finished cell, its ``folder`` being ignored; ``texts`` are further files by name.

    Raises StorageError; nothing half-written is left.
    """
    content = {
        "cell": cell.cell, "control": cell.control, "seed": cell.seed, "fold": cell.fold,
        "settings": dict(cell.settings), "learning": asdict(cell.learning), "about": dict(cell.about),
    }  # fmt: skip
    with atomic_directory(cells_folder(run) / cell.cell) as folder:
        if embedding is not None:
            write_embedding(embedding, folder / "embedding")
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "cell.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def names(run: Path) -> set[str]:
    """Ids of the cells that are there."""
    return {folder.name for folder in _folders(run)}


def read(run: Path) -> list[StoredCell]:
    """All finished cells of a run, by id.  Raises InputError for a folder that is no cell; [] where there are none."""
    return [_read(folder) for folder in sorted(_folders(run))]


def _folders(run: Path) -> Iterator[Path]:
    folder = cells_folder(run)
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read(folder: Path) -> StoredCell:
    path = folder / "cell.json"
    content = read_object(path, _WHAT)
    try:
        learning = CellLearning(**content["learning"])
        cell = StoredCell(
            folder, str(content["cell"]), str(content["control"]), int(content["seed"]), int(content["fold"]),
            dict(content["settings"]), learning, dict(content.get("about", {})),
        )  # fmt: skip
        losses = (learning.training, learning.training_blind, learning.validation, learning.validation_blind)
        if not all(x is None or math.isfinite(x) for x in losses) or not math.isfinite(learning.seconds):
            raise ValueError("losses that are no numbers")
        if not isinstance(learning.diverged, bool):
            raise ValueError(f"diverged {learning.diverged!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, _WHAT, f"another JSON: {error}") from None
    if cell.cell != folder.name or cell.control not in CONTROLS:
        raise InputError(path, f"cell {folder.name} of a control of {CONTROLS}", f"{cell.cell}, '{cell.control}'")
    return cell
