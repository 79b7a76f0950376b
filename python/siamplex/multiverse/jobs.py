"""Jobs that train the grid's nets, and the cells made from their results."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.geometry.embedding import Embedding
from siamplex.multiverse import store
from siamplex.multiverse.cell_audit import audit_text
from siamplex.multiverse.features import FeatureFiles, Prefix, Source, read_products
from siamplex.multiverse.grid import Cell, Grid, Training
from siamplex.multiverse.splits import folds, pairs_of, shuffled_labels
from siamplex.multiverse.store import SHUFFLED, UNTRAINED, StoredCell
from siamplex.multiverse.training import Job, Reading, Result
from siamplex.pairs.pairing import Pairs


class Jobs:
    """Makes the jobs of a run's grid; ``note`` says where conv1-3 come from, ``scratch`` where their files may lie."""

    def __init__(self, run: Path, source: Source, grid: Grid, note: str, scratch: Path | None = None) -> None:
        self._run, self._source, self._grid, self._note = run, source, grid, note
        self._scratch = str(scratch) if scratch else None
        options = source.store.store.options
        self._pair_seed, self._balance = int(options["seed"]), bool(options["balance"])
        self._splits = folds(source.store.index.subjects, grid.folds, self._pair_seed)
        self._pairs = lru_cache(maxsize=4)(self._make_pairs)

    def cells(self, training: Training) -> list[Cell]:
        """The cells read from a training; one cell of an untrained tower."""
        if training.control == UNTRAINED:
            return [Cell(training.control, training.seed, training.fold, training.settings)]
        return self._grid.cells_of(training)

    def labels(self, training: Training) -> list[str]:
        """The emotion of each image as a training is given it."""
        index = self._source.store.index
        if training.control == SHUFFLED:
            return shuffled_labels(index, training.seed, training.id)  # each training its own
        return [entry.emotion for entry in index.entries]

    def _make_pairs(self, fold: int, shuffled: Training | None) -> dict[str, Pairs]:
        index = self._source.store.index
        labels = self.labels(shuffled) if shuffled else [entry.emotion for entry in index.entries]
        return pairs_of(index, self._splits[fold], labels, self._pair_seed, self._balance)

    def job(self, training: Training) -> Job:
        """The job of a training whose features are there.  Raises InputError."""
        pairs = self._pairs(training.fold, training if training.control == SHUFFLED else None)
        prefix = Prefix.of(training.settings)
        gram, base = read_products(self._run, prefix, training.seed)
        features = np.lib.format.open_memmap(FeatureFiles.of(self._run, prefix).features, mode="r")
        wide = features.shape[1] > features.shape[0]
        return Job(
            self._source.nets, training, tuple(dict(view) for view in self._grid.views), pairs["train"], pairs["val"],
            gram, base, None if wide else np.array(features), self._scratch,
        )  # fmt: skip

    def trained_on(self, training: Training) -> int:
        """How many images a training learns from."""
        split = self._splits[training.fold]
        return sum(split[entry.subject] == "train" for entry in self._source.store.index.entries)

    def store(self, result: Result) -> int:
        """Write the cells of a result into the run; how many of them diverged.  Raises StorageError."""
        training = result.training
        settings = dict(training.settings)
        for cell, reading in self._readings(result):
            until = int(reading.view.get("iterations", 0)) or 1
            texts = self._source.nets.texts(settings, until, training.seed)
            texts["audit.json"] = audit_text(texts, dict(cell.settings), training.fold)
            kept = StoredCell(
                Path(), cell.id, cell.control, cell.seed, cell.fold, dict(cell.settings), reading.learning,
                self._about(result, reading),
            )  # fmt: skip
            store.write(self._run, kept, self._embedding(cell, training, reading), texts)
        return sum(reading.learning.diverged for reading in result.readings)

    def _readings(self, result: Result) -> Iterator[tuple[Cell, Reading]]:
        cells = self.cells(result.training)
        for reading in result.readings:
            told = [c for c in cells if all(dict(c.settings)[name] == value for name, value in reading.view.items())]
            yield told[0], reading

    def _about(self, result: Result, reading: Reading) -> dict[str, Any]:
        about: dict[str, Any] = {
            "training": result.training.id, "iteration": reading.iteration, "active": reading.active,
            "seconds of the whole training": round(result.seconds, 3),
            "processor seconds of the whole training": round(result.processor, 3), "note": self._note,
        }  # fmt: skip
        return about | ({"why": reading.why} if reading.why else {})

    def _embedding(self, cell: Cell, training: Training, reading: Reading) -> Embedding | None:
        if reading.points is None:
            return None
        index, split = self._source.store.index, self._splits[training.fold]
        entries = index.entries
        notes = [self._note] + (["faces are synthetic (drawn by siamplex)"] if index.synthetic else [])
        facts: dict[str, Any] = {
            "weights": f"cell {cell.id}", "iteration": reading.iteration, "blob": "fc6", "engine": "torch",
            "seed": cell.seed, "fold": cell.fold, "control": cell.control, "notes": notes,
        }  # fmt: skip
        if cell.control == SHUFFLED:
            facts["shown"] = [entry.emotion for entry in entries]
        subjects = [entry.subject for entry in entries]
        return Embedding(
            reading.points, [entry.image for entry in entries], subjects, self.labels(training),
            [split[subject] for subject in subjects], facts,
        )  # fmt: skip
