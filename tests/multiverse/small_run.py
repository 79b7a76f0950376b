"""A small run over drawn faces, and a small grid for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from siamplex.cli import main

GRID = """\
seeds = [1, 2]
folds = 3

[dimensions]
scale = ["1/256", 1]
pool3 = [false, true]
batch = [8, 16]
momentum = [0.9, 0]
iterations = [20, 40]
stop = ["length", "validation"]

[sample]
cells = 4

[controls]
shuffled = 0.5
untrained = 2
"""


def make_run(folder: Path, faces: Path) -> Path:
    """``folder/run`` up to the nets: 67 pixels, a tenth of the units; fc4 sees more values than there are faces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            f"index {faces}",
            "pairs --size 67 --fractions 0.6 0.2 0.2",
            "prototxt --pairs run/pairs --run run --nets run/prototxt --solvers run/solvers --width 0.1 "
            "--batch-size 16 --iterations 40 --snapshot 20",
        ):
            assert main(words.split()) == 0
        Path("grid.toml").write_text(GRID)
    return folder / "run"
