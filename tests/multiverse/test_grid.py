from __future__ import annotations

from pathlib import Path

import pytest

from siamplex.audit import paper
from siamplex.errors import InputError
from siamplex.multiverse.grid import DEFAULTS, SETTINGS, Cell, Training, read
from siamplex.multiverse.toml_lines import line_of

OWN = {
    "scale": 1 / 256, "pool3": False, "new_lr_mult": 1.0, "batch": 256, "base_lr": 1e-4, "momentum": 0.9,
    "weight_decay": 5e-4, "dropout": 0.5, "iterations": 5000, "stop": "length", "margin": 1.0,
}  # fmt: skip


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def test_the_papers_grid_has_every_setting_and_a_reason_for_each_value():
    grid = read(DEFAULTS, {})
    assert set(grid.dimensions) == set(SETTINGS)
    for name, values in grid.dimensions.items():
        assert len(grid.reasons[name]) == len(values) and all(len(reason) > 10 for reason in grid.reasons[name])
    # what the paper states does not vary; each subject is held out once by 80/10/10
    assert grid.dimensions["base_lr"] == (paper.BASE_LR,) and grid.dimensions["margin"] == (paper.MARGIN,)
    assert paper.ITERATIONS in grid.dimensions["iterations"] and grid.folds == 10
    assert grid.size == 3 * 2 * 2 * 3 * 2 * 2 * 2 * 5 * 10 and len(grid.views) == 4


def test_what_is_left_out_is_the_runs_own(tmp_path):
    grid = read(written(tmp_path, "[dimensions]\nbatch = [64]\n"), OWN)
    assert dict(grid.trained) == {
        **{k: (v,) for k, v in OWN.items() if k not in ("iterations", "stop")},
        "batch": (64,),
    }
    assert grid.views == [{"iterations": 5000, "stop": "length"}]
    assert (grid.seeds, grid.folds, grid.size) == ((1,), 10, 10)


def test_fractions_are_numbers(tmp_path):
    grid = read(written(tmp_path, '[dimensions]\nscale = ["1/256", 0.25, "0.5", 1]\n'), OWN)
    assert grid.dimensions["scale"] == (1 / 256, 0.25, 0.5, 1.0)


def test_ids_are_what_a_cell_is():
    one = Cell("", 1, 0, (("batch", 64), ("scale", 0.5)))
    assert one.id == Cell("", 1, 0, (("batch", 64), ("scale", 0.5))).id
    others = [Cell("shuffled", 1, 0, one.settings), Cell("", 2, 0, one.settings), Cell("", 1, 1, one.settings),
              Cell("", 1, 0, (("batch", 64), ("scale", 0.25)))]  # fmt: skip
    assert len({cell.id for cell in (one, *others)}) == 5
    assert Training("", 1, 0, one.settings)["batch"] == 64


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[dimensions]\nbatch = [64]\nspeed = [1]\n", 3, "'speed'"),
        ("[dimensions]\nbatch = [\n]\n", 2, "an empty list"),
        ("# a\n[dimensions]\nbatch = [64,\n  0]\n", 3, "found 0"),
        ("[dimensions]\nbatch = [64, 64]\n", 2, "64 twice"),
        ("[dimensions]\nbatch = [true]\n", 2, "found true"),
        ("[dimensions]\nbatch = 64\n", 2, "a list of values"),
        ("[dimensions]\nscale = ['1/0']\n", 2, "'1/0'"),
        ("[dimensions]\nscale = [0]\n", 2, "above 0"),
        ("[dimensions]\nscale = [nan]\n", 2, "found nan"),
        ("[dimensions]\nbase_lr = [inf]\n", 2, "found inf"),
        ("[dimensions]\nmomentum = [1]\n", 2, "without 1"),
        ("[dimensions]\ndropout = [1.0]\n", 2, "without 1"),
        ("[dimensions]\npool3 = ['yes']\n", 2, "true or false"),
        ("[dimensions]\nstop = ['early']\n", 2, "'length' or 'validation'"),
        ("[dimensions]\niterations = [2.5]\n", 2, "found 2.5"),
        ("[dimensions]\niterations = [9999999999]\n", 2, "found 9999999999"),
        ("dimensions = 3\n", 1, "a table [dimensions]"),
        ("seeds = [1, 1]\n[dimensions]\nbatch = [64]\n", 1, "different seeds"),
        ("seeds = [-1]\n[dimensions]\nbatch = [64]\n", 1, "different seeds"),
        ("folds = 2\n[dimensions]\nbatch = [64]\n", 1, "at least 3"),
        ("fold = 2\n[dimensions]\nbatch = [64]\n", 1, "'fold'"),
        ("[dimensions]\nbatch = [64]\n[reasons]\nbatch = ['a', 'b']\n", 4, "1 texts"),
        ("[dimensions]\nbatch = [64]\n[reasons]\nscale = ['a']\n", 4, "'scale'"),
        ("[dimensions]\nbatch = [64]\n\n[controls]\nshuffled = 2\n", 5, "from 0 to 1"),
        ("[dimensions]\nbatch = [64]\n[controls]\nuntrained = -1\n", 4, "at least 0"),
        ("[dimensions]\nbatch = [64]\n[sample]\ncells = 0\n", 4, "at least 1"),
        ("[dimensions]\nbatch = [64]\n[sample]\nsize = 9\n", 4, "'size'"),
    ],
)
def test_a_bad_grid_is_refused_by_line(tmp_path, text, line, words):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read(path, OWN)
    assert str(caught.value).startswith(f"{path} line {line}: expected ") and words in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"seeds = [1]\n", b"[dimensions\n", b"\xff\xfe\x00", b"a = " + b"[" * 5000])
def test_what_is_no_grid_is_refused(tmp_path, content):
    path = tmp_path / "grid.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"grid\.toml"):
        read(path, OWN)
    with pytest.raises(InputError):
        read(tmp_path / "none.toml", OWN)


def test_lines_of_keys():
    text = 'a = 1\n[b] # [c]\n"d" = [\n  "[x]",  # [\n  2]\nd2 = "]"\n[b.e]\nf.g = 3\n'
    assert [line_of(text, *keys.split()) for keys in ("a", "b", "b d", "b d2", "b e", "b e f g")] == [1, 2, 3, 6, 7, 8]
    assert line_of(text, "b", "none") == 2 and line_of(text, "none") is None
