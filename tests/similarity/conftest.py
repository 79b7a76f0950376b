from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from siamplex.geometry.embedding import Embedding
from siamplex.geometry.orders import PAPER_ORDER

Maker = Callable[..., Embedding]


@pytest.fixture
def ring() -> Maker:
    """Embeddings whose emotions lie on a circle, each image at an actor's own place near it."""

    def make(
        order: Sequence[str] = PAPER_ORDER, noise: float = 0.1, actors: int = 8, each: int = 2, seed: int = 0,
        split: str = "train",
    ) -> Embedding:  # fmt: skip
        stream = np.random.default_rng(seed)
        points, subjects, emotions = [], [], []
        for actor in range(actors):
            for i, emotion in enumerate(order):
                angle = 2 * np.pi * i / len(order)
                for _ in range(each):
                    points.append(np.array([np.cos(angle), np.sin(angle)]) + stream.normal(0, noise, 2))
                    subjects.append(f"{actor:02d}")
                    emotions.append(emotion)
        count = len(points)
        return Embedding(
            np.array(points, np.float32), [f"i{k}" for k in range(count)], subjects, emotions, [split] * count,
            {"blob": "fc6"},
        )  # fmt: skip

    return make
