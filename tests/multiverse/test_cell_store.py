from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding
from siamplex.multiverse.store import CellLearning, StoredCell, names, read, write

LEARNT = CellLearning(0.1, 0.2, 0.15, None, False, 12.5)


def embedding() -> Embedding:
    points = np.arange(8, dtype=np.float32).reshape(4, 2)
    return Embedding(points, list("abcd"), list("1122"), ["AN", "HA"] * 2, ["train"] * 4, {"seed": 1})


def cell(tmp_path, name="c1", **changes) -> StoredCell:
    made = StoredCell(tmp_path, name, "", 1, 0, {"batch": 64, "pool3": False}, LEARNT, {"training": "t"})
    return replace(made, **changes)


def test_a_cell_comes_back_as_it_was(tmp_path):
    write(tmp_path, cell(tmp_path), embedding(), {"solver.prototxt": "base_lr: 1\n"})
    (found,) = read(tmp_path)
    assert replace(found, folder=tmp_path) == cell(tmp_path) and names(tmp_path) == {"c1"}
    np.testing.assert_array_equal(found.embedding().points, embedding().points)
    assert (found.folder / "solver.prototxt").read_text() == "base_lr: 1\n"


def test_a_cell_that_diverged_has_no_embedding(tmp_path):
    gone = cell(tmp_path, learning=CellLearning(None, None, None, None, True, 0.0))
    write(tmp_path, gone, None, {})
    (found,) = read(tmp_path)
    assert found.learning.diverged and not found.embedding_path.exists()
    with pytest.raises(InputError, match="diverged"):
        found.embedding()


def test_what_is_half_written_is_no_cell(tmp_path, monkeypatch):
    write(tmp_path, cell(tmp_path, "c0"), embedding(), {})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("siamplex.multiverse.store.json.dumps", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        write(tmp_path, cell(tmp_path), embedding(), {})
    assert names(tmp_path) == {"c0"} == {one.cell for one in read(tmp_path)}
    assert [path.name for path in (tmp_path / "multiverse" / "cells").iterdir()] == ["c0"]


def test_none_is_none(tmp_path):
    assert read(tmp_path) == [] and names(tmp_path) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"cell": "other"}, {"control": "odd"}, {"seed": "x"}, {"fold": None}, {"settings": 3}, {"learning": {}},
        {"learning": {**LEARNT.__dict__, "training": "low"}}, {"learning": {**LEARNT.__dict__, "diverged": "no"}},
        {"learning": {**LEARNT.__dict__, "seconds": None}},
    ],
)  # fmt: skip
def test_what_is_no_cell_is_refused(tmp_path, change):
    write(tmp_path, cell(tmp_path), embedding(), {})
    path = tmp_path / "multiverse" / "cells" / "c1" / "cell.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"cell\.json"):
        read(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"cell\.json"):
        read(tmp_path)
