"""Made-up cells whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import PAPER_ORDER
from siamplex.multiverse.store import CellLearning, StoredCell, Value, write

FOLDS = 3


def ring(
    order: Sequence[str] = PAPER_ORDER, noise: float = 0.2, flat: float = 1.0, actors: int = 9, each: int = 2,
    fold: int = 0, seed: int = 0,
) -> Embedding:  # fmt: skip
    """Emotions on an ellipse whose axes are as 1 to ``flat``; every third actor is held out, another validates."""
    stream = np.random.default_rng(seed)
    rows = []
    for actor in range(actors):
        split = {0: "test", 1: "val"}.get((actor + fold) % FOLDS if actors > 2 else -1, "train")
        for i, emotion in enumerate(order):
            angle = 2 * np.pi * (i + 0.3) / len(order)
            for _ in range(each):
                point = np.array([np.cos(angle), flat * np.sin(angle)]) + stream.normal(0, noise, 2) * (1, flat)
                rows.append((point, f"{actor:02d}", emotion, split))
    points, subjects, emotions, splits = zip(*rows, strict=True)
    images = [f"i{k:04d}" for k in range(len(rows))]
    return Embedding(
        np.array(points, np.float32), images, list(subjects), list(emotions), list(splits),
        {"notes": ["faces are synthetic (drawn by siamplex)"]},
    )  # fmt: skip


Put = Callable[..., StoredCell]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Stores a cell in the run ``tmp_path``; without an embedding it has diverged."""
    made: list[str] = []

    def cell(
        settings: Mapping[str, Value], embedding: Embedding | None, control: str = "", seed: int = 1, fold: int = 0,
        learnt: float | None = 0.5,
    ) -> StoredCell:  # fmt: skip
        name = f"cell{len(made):04d}"
        made.append(name)
        blind = None if embedding is None or learnt is None else 0.14
        loss = None if blind is None or learnt is None else learnt * blind
        learning = CellLearning(loss, blind, loss, blind, embedding is None, 1.5)
        stored = StoredCell(tmp_path, name, control, seed, fold, settings, learning)
        write(tmp_path, stored, embedding, {})
        return stored

    return cell
