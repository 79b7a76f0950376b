"""Fixtures shared by all tests: goldens of real Caffe, and a small drawn corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from siamplex.corpus_index import CorpusIndex, index_folder, write_index
from siamplex.faces.corpus import draw_corpus
from siamplex.pairs.build import PairOptions, build_pairs

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = ROOT.parent / "shared" / "goldens"

settings.register_profile("siamplex", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("siamplex")

# sums split over threads round differently; tests compare with fixed numbers
torch.set_num_threads(1)

SMALL_COUNTS = {"AN": 8, "DI": 8, "FE": 8, "HA": 12, "SA": 8, "SP": 4}


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of the golden runs; skips where a clone stands alone."""
    if not GOLDENS.is_dir():
        pytest.skip("no ../shared/goldens beside this clone")
    return GOLDENS


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces of five actors."""
    folder = tmp_path_factory.mktemp("faces") / "corpus"
    draw_corpus(folder, SMALL_COUNTS, actors=5, seed=3, workers=1)
    return folder


@pytest.fixture(scope="session")
def index(faces: Path) -> CorpusIndex:
    """Index of the drawn faces."""
    return index_folder(faces)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, index: CorpusIndex) -> Path:
    """A run folder with both pair stores of the drawn faces at 35 pixels: pairs/ and stacked/."""
    run = tmp_path_factory.mktemp("run")
    write_index(index, run / "index.csv")
    for layout in ("indexed", "stacked"):
        options = PairOptions(layout=layout, size=35, fractions=(0.6, 0.2, 0.2))
        build_pairs(index, run / layout, options)
    return run
