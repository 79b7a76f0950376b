"""Fixtures shared by all tests: goldens of real Caffe, and a small drawn corpus."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from siamplex.cli import main
from siamplex.corpus.emotions import PAPER_COUNTS
from siamplex.corpus.index import CorpusIndex, index_folder, write_index
from siamplex.faces.canvas import Image
from siamplex.faces.corpus import Portrait, allot, draw_corpus, portray
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
def wild(goldens: Path) -> Path:
    """Folder of the golden runs over other layers; skips where it is not there."""
    folder = goldens.parent / "goldens_wild"
    if not folder.is_dir():
        pytest.skip("no ../shared/goldens_wild beside this clone")
    return folder


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces of five actors."""
    folder = tmp_path_factory.mktemp("faces") / "corpus"
    draw_corpus(folder, SMALL_COUNTS, actors=5, seed=3, workers=1)
    return folder


@pytest.fixture(scope="session")
def pictures() -> tuple[list[Portrait], list[Image]]:
    """The paper's 504 portraits, drawn as ``siamplex faces`` draws them from seed 1."""
    portraits = allot(PAPER_COUNTS, 43, seed=1)
    return portraits, [portray(p, 1) for p in portraits]


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


SMALL_NETS = "--width 0.125 --iterations 6 --base-lr 0.001 --display 1 --snapshot 3 --batch-size 16 --test-interval 3"


@pytest.fixture(scope="session")
def small_training(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """The folder of a whole small run by the commands alone: run/ with everything up to the figures."""
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)

        def run(text: str) -> None:
            assert main(text.split()) == 0

        run(f"index {faces}")
        run("pairs --size 35 --fractions 0.6 0.2 0.2")
        run(f"prototxt --pairs run/pairs --nets run/prototxt --solvers run/solvers {SMALL_NETS}")
        run("weights --deploy run/prototxt/deploy.prototxt")
        table = "run/pairs/images.caffemodel"
        for stage, start in ((1, "run/weights/init.caffemodel"), (2, "run/stage1/snap_iter_6.caffemodel")):
            run(f"train --solver run/solvers/stage{stage}_indexed.prototxt --weights {start},{table}")
        for name, file in (
            ("stage1_iter_0", "weights/init"), ("stage1_iter_3", "stage1/snap_iter_3"),
            ("stage1_iter_6", "stage1/snap_iter_6"), ("stage2", "stage2/snap_iter_6"),
        ):  # fmt: skip
            run(f"extract --weights run/{file}.caffemodel --deploy run/prototxt/deploy.prototxt "
                f"--out run/features/{name}.npz")  # fmt: skip
        for name in ("stage1_iter_6", "stage2"):
            run(f"geometry run/features/{name}.npz --out run/geometry/{name}.json")
        stage1 = " ".join(f"run/features/stage1_iter_{n}.npz" for n in (0, 3, 6))
        run(f"figures --stage1 {stage1} --stage2 run/features/stage2.npz "
            "--losses run/stage1/snap_losses.csv run/stage2/snap_losses.csv")  # fmt: skip
    return folder


@pytest.fixture
def own_run(small_training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small run that a test may tamper with; the working folder holds it."""
    shutil.copytree(small_training / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"
