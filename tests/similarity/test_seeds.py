from __future__ import annotations

import json

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.geometry.embedding import read_embedding
from siamplex.run.record import read_record
from siamplex.similarity.seeds import as_text, describe_seeds

OTHER = ("HA", "SA", "SP", "AN", "FE", "DI")


def test_counts_and_their_intervals(ring):
    result = describe_seeds([ring(seed=i) for i in range(4)] + [ring(order=OTHER, seed=9)])
    found = result["agrees"]
    assert (found["hits"], found["share"]) == (4, 0.8)
    low, high = found["interval"]
    assert low == pytest.approx(0.2836, abs=1e-4) and high == pytest.approx(0.9949, abs=1e-4)  # Clopper and Pearson
    # four or more of five at 1/60 each
    assert found["p"] == pytest.approx(5 * (1 / 60) ** 4 * (59 / 60) + (1 / 60) ** 5)
    assert result["alike"]["spearman_least"] < result["alike"]["spearman_mean"] < 1
    text = as_text(result)
    assert "4 of 5 seeds" in text and text.count(" *") == 4


def test_none_at_all_is_no_failure(ring):
    result = describe_seeds([ring(order=OTHER)])
    assert result["agrees_either"]["hits"] == 0 and result["agrees_either"]["p"] == 1
    assert result["alike"] == {}


def test_the_command_trains_each_seed_once(own_run, capsys):
    assert main(["seeds", "run", "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "of 2 seeds" in out
    one, two = (read_embedding(own_run / f"seeds/{n}/stage1.npz") for n in (1, 2))
    assert not np.array_equal(one.points, two.points)
    assert not (own_run / "seeds/1/stage1").exists()
    # the run itself is seed 1
    known = read_embedding(own_run / "features/stage1_iter_6.npz")
    np.testing.assert_array_equal(one.points, known.points)
    written = json.loads((own_run / "seeds/seeds.json").read_text())
    assert [s["seed"] for s in written["seeds"]] == [1, 2]
    assert main(["seeds", "run", "--seeds", "3"]) == 0
    said = capsys.readouterr().err
    assert "seed 1: as it was" in said and "seed 2: as it was" in said and "seed 3: as it was" not in said
    assert read_record(own_run)[-1]["command"] == "seeds"
    assert main(["seeds", "run", "--seeds", "0"]) == 2


def flattened(embedding, ratio=0.05):
    embedding.points[:, 1] *= ratio
    return embedding


def test_lines_are_counted_apart(ring):
    result = describe_seeds([ring(seed=1), ring(seed=2), ring(order=OTHER, seed=9), flattened(ring(seed=3))])
    assert result["count"] == 4 and result["lines"] == 1
    assert (result["agrees"]["hits"], result["agrees"]["share"]) == (2, 2 / 3)
    line = result["seeds"][3]
    assert line["line"] and line["agrees"] is None and line["agrees_either"] is None and line["ratio"] < 0.1
    text = as_text(result)
    assert "1 of 4 seeds, left out below" in text and "2 of 3 seeds" in text
    assert text.count(" *") == 2 and " |" in text


def test_nothing_is_claimed_where_all_are_lines(ring):
    result = describe_seeds([flattened(ring(seed=i)) for i in range(3)])
    assert result["agrees"] is None and result["agrees_either"] is None and result["lines"] == 3
    text = as_text(result)
    assert "chance" not in text and "(p " not in text and "3 of 3 seeds, left out below" in text
