"""The whole answer, from stored cells to files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from siamplex.corpus.emotions import EMOTIONS
from siamplex.errors import InputError, UsageError
from siamplex.geometry.embedding import read_embedding
from siamplex.geometry.orders import PAPER_ORDER, canonical
from siamplex.multiverse import table as tables
from siamplex.multiverse.answer import answer, as_shown
from siamplex.multiverse.outcomes import OUTCOMES
from siamplex.multiverse.store import read
from siamplex.multiverse.table import parquet_missing, typed, write_parquet
from tests.multiverse.conftest import ring


@pytest.fixture
def multiverse(put, tmp_path):
    """Settings that do what they are said to: ``batch`` flattens, ``scale`` 255 diverges, ``decay`` does nothing."""
    choices = product((32, 128), (0.0, 0.0005), (1, 2, 3), (0, 1))
    for number, (batch, decay, seed, fold) in enumerate(choices, 1):
        flat = 0.1 if batch == 32 else 0.7
        embedding = ring(flat=flat, noise=0.25, fold=fold, seed=number)
        put({"batch": batch, "decay": decay, "scale": 1.0}, embedding, seed=seed, fold=fold, learnt=0.6 + 0.01 * seed)
    put({"batch": 32, "decay": 0.0, "scale": 255.0}, None)
    stream = np.random.default_rng(0)
    for seed in range(12):
        order = canonical(stream.permutation(EMOTIONS).tolist())
        shuffled = ring(order=order, noise=0.4, seed=seed)
        shuffled.facts["shown"] = ring().emotions
        settings = {"batch": 128, "decay": 0.0, "scale": 1.0}
        put(settings, shuffled, control="shuffled", seed=seed, learnt=1.0)
    put({"scale": 1.0}, ring(noise=3.0, seed=5), control="untrained", learnt=0.999)
    return tmp_path


def test_files_and_what_they_say(multiverse, capsys):
    found = answer(multiverse)
    folder = multiverse / "multiverse"
    with (folder / "multiverse.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 24 + 1 + 12 + 1
    assert list(rows[0])[:9] == ["cell", "training", "control", "seed", "fold", "labels", "batch", "decay", "scale"]
    assert set(OUTCOMES) <= set(rows[0]) and rows[0]["ratio_low"] and rows[0]["ratio_high"]
    cells = {c.cell: c for c in read(multiverse)}
    assert len({row["labels"] for row in rows if row["control"] != "shuffled"}) == 2  # nothing for what diverged
    for row in rows:
        cell = cells[row["cell"]]
        assert row["control"] == cell.control and int(row["seed"]) == cell.seed
        assert row["decay"] == ("" if "decay" not in cell.settings else f"{cell.settings['decay']:.9g}")
        assert row["diverged"] == str(cell.learning.diverged)
        assert bool(row["ratio"]) != cell.learning.diverged
    # batch moves flatness, by construction, and nothing else does
    share = found.shares["ratio"]
    assert share.shares["batch"] > 0.9 and share.intervals["batch"][0] > 0.8
    assert all(abs(share.shares[n]) < 0.05 for n in ("decay", "seed", "fold"))
    by_name = {v.name: v for v in found.verdicts}
    assert by_name["circle"].kind == "hangs" and [o.setting for o in by_name["circle"].on] == ["batch"]
    assert by_name["agrees_either"].kind == "holds"
    assert by_name["learnt"].cells == 25 and by_name["learnt"].true == 24
    assert found.chance["agrees_either"].shuffled.draws == 12 and found.chance["agrees_either"].learnt.lines == 12
    assert "drawn faces" in found.paragraph and "no baselines" in found.notes[0]
    known = json.loads((folder / "answer.json").read_text())
    assert known["paragraph"] == found.paragraph and known["cells"] == {"paper": 25, "shuffled": 12, "untrained": 1}
    assert known["shares"]["ratio"]["shares"]["batch"] == share.shares["batch"]
    text = (folder / "answer.txt").read_text()
    assert text.startswith(found.paragraph) and "labels shuffled" in text and "interactions and noise" in text
    drawn = sorted(p.name for p in (folder / "figures").iterdir())
    assert drawn == sorted(known["figures"]) and "ratio.svg" in drawn and "held_out_accuracy.png" in drawn
    assert "rho_people.svg" not in drawn  # nobody was asked
    assert all((folder / "figures" / p).stat().st_size > 1000 for p in drawn)
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_the_same_again(multiverse):
    answer(multiverse)
    folder = multiverse / "multiverse"
    names = ["multiverse.csv", "answer.json", "answer.txt", "baselines.csv", "figures/ratio.svg"]
    before = [(folder / n).read_bytes() for n in names]
    (folder / "figures" / "stale.svg").write_text("of an earlier grid")
    answer(multiverse)
    assert [(folder / n).read_bytes() for n in names] == before
    assert not (folder / "figures" / "stale.svg").exists()


def test_baselines_of_a_real_run(own_run):
    from siamplex.multiverse.store import CellLearning, StoredCell, write

    embedding = read_embedding(own_run / "features/stage1_iter_6.npz")
    stream = np.random.default_rng(0)
    for number in range(3):
        points = embedding.points + stream.normal(0, embedding.points.std(), embedding.points.shape).astype(np.float32)
        learning = CellLearning(0.1, 0.2, 0.1, 0.2, False, 1.0)
        cell = StoredCell(own_run, f"c{number}", "", number, 0, {"batch": 16}, learning)
        write(own_run, cell, replace(embedding, points=points), {})
    found = answer(own_run)
    assert [(b.method, b.features) for b in found.baselines] == [
        ("PCA", "pixels"), ("metric MDS", "pixels"), ("non-metric MDS", "pixels"), ("PCA", "conv3"),
        ("metric MDS", "conv3"), ("non-metric MDS", "conv3"), ("linear discriminant", "conv3"),
    ]  # fmt: skip
    with (own_run / "multiverse/baselines.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 7 and rows[6]["held_out_accuracy"] and not rows[1]["held_out_accuracy"] and rows[1]["ratio"]
    assert "Simpler methods" in (own_run / "multiverse/answer.txt").read_text()
    assert "linear discriminant of conv3 told the emotions" in found.paragraph


def test_people(put, tmp_path):
    names = ["happy", "surprise", "fear", "sad", "anger", "disgust"]
    steps = np.minimum(*(np.abs(np.subtract.outer(range(6), range(6)) - k) for k in (0, 6)))
    steps = np.minimum(steps, 6 - np.abs(np.subtract.outer(range(6), range(6))))
    lines = ["," + ",".join(names), *(f"{n}," + ",".join(map(str, row)) for n, row in zip(names, steps, strict=True))]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    for seed in range(5):
        put({"batch": 32}, ring(seed=seed, noise=0.1), seed=seed)
    found = answer(tmp_path, tmp_path / "people.csv")
    assert (found.table["rho_people"] > 0.8).all() and (found.table["rho_people_low"] > 0.5).all()
    assert {v.name: v.kind for v in found.verdicts}["people"] == "holds"
    assert (tmp_path / "multiverse/figures/rho_people.svg").exists()


def test_all_diverged(put, tmp_path):
    for seed in range(6):
        put({"scale": 255.0}, None, seed=seed)
    found = answer(tmp_path)
    assert found.paragraph.startswith("Of 6 cells 6 diverged and none learnt.")
    assert found.table["ratio"].isna().all() and not found.shares and not found.figures
    assert (tmp_path / "multiverse/figures").is_dir()


@pytest.mark.parametrize("order", [("HA", "SP"), ("AN", "DI", "SA"), PAPER_ORDER[:4]])
def test_one_cell_of_a_few_emotions(put, tmp_path, order):
    put({}, ring(order=order, actors=3, each=3))
    found = answer(tmp_path)
    assert "Too few cells to say whether" in found.paragraph and not found.shares
    assert found.chance["agrees"].even == ("1/3" if len(order) == 4 else None)
    assert (tmp_path / "multiverse/figures/held_out_accuracy.svg").exists()


def test_none_learnt_one_seed_one_fold(put, tmp_path):
    for batch, decay in product((32, 64, 128), (0.0, 0.1)):
        put({"batch": batch, "decay": decay}, ring(seed=batch), learnt=0.99)
    found = answer(tmp_path)
    assert "No cell showed that the net learns" in found.paragraph
    share = found.shares["ratio"]  # decay changes nothing here, to the last digit
    assert share.shares["batch"] == pytest.approx(1) and share.intervals["batch"] is not None


def test_no_cells_and_cells_of_other_images(put, tmp_path):
    with pytest.raises(InputError, match=r"multiverse/cells: expected finished cells .*, found none"):
        answer(tmp_path)
    put({}, ring())
    put({}, ring(actors=8))
    with pytest.raises(
        InputError, match=r"cell0001/embedding.npz: expected the images and subjects of the other cells"
    ):
        answer(tmp_path)
    assert not (tmp_path / "multiverse/multiverse.csv").exists()


def test_settings_of_mixed_kinds_and_with_names_of_ours(put, tmp_path):
    put({"policy": "fixed", "pool": True, "ratio": 1, "mixed": 1}, ring(seed=1))
    put({"policy": "step", "pool": False, "ratio": 2.5, "mixed": "all"}, ring(seed=2))
    put({"policy": "step"}, ring(seed=3), control="untrained")
    table = answer(tmp_path).table
    kinds = {name: str(table[name].dtype) for name in ("policy", "pool", "setting_ratio", "mixed", "swaps")}
    assert kinds["pool"] == "boolean" and kinds["setting_ratio"] == "Float64" and kinds["swaps"] == "Int64"
    assert table["mixed"].tolist()[:2] == ["1", "all"] and table["ratio"].max() < 1.01
    assert table["pool"].isna().tolist() == [False, False, True]
    assert str(typed([None, None]).dtype).startswith("string")


def test_the_emotions_shown_are_those_the_baselines_use():
    shuffled = ring()
    shown = list(shuffled.emotions)
    shuffled.emotions[:2] = shuffled.emotions[1::-1]
    shuffled.facts["shown"] = shown
    assert as_shown(shuffled).emotions == shown
    assert as_shown(ring()).emotions == shown


def test_without_pyarrow(put, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: None)
    put({}, ring())
    (tmp_path / "multiverse/multiverse.parquet").write_bytes(b"of an earlier table")
    found = answer(tmp_path)
    assert any("pip install 'siamplex[parquet]'" in note for note in found.notes)
    assert "multiverse.parquet is not written" in capsys.readouterr().err
    assert not (tmp_path / "multiverse/multiverse.parquet").exists()
    with pytest.raises(UsageError, match=r"multiverse.parquet: a Parquet file needs pyarrow"):
        write_parquet(found.table, tmp_path / "multiverse.parquet")
    assert not (tmp_path / "multiverse.parquet").exists()


@pytest.mark.skipif(bool(parquet_missing()), reason="pyarrow is not installed")
def test_parquet_is_the_table(multiverse):
    import pyarrow.parquet as pq

    found = answer(multiverse)
    path = multiverse / "multiverse/multiverse.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(path), found.table, check_dtype=False)
    fields = {f.name: str(f.type) for f in pq.read_schema(path)}
    assert fields["learnt"] == "bool" and fields["swaps"] == "int64" and fields["batch"] == "int64"
    assert not any("was not written" in note for note in found.notes)
