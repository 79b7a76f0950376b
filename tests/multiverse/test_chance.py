from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from siamplex.corpus.emotions import EMOTIONS
from siamplex.geometry.orders import PAPER_ORDER, SWAPPED_ORDER, canonical
from siamplex.multiverse.chance import as_lines, chances, clopper_pearson, percentiles
from siamplex.multiverse.swaps import agreement


def rows(orders, control: str, learnt: bool = True, shared: int = 1) -> pd.DataFrame:
    """A row an order; None is a line.  ``shared`` cells have one seed."""
    columns = ["control", "seed", "fold", "labels", "learnt", "line", "order", "agrees", "agrees_either"]
    found = []
    for i, order in enumerate(orders):
        both = agreement(order) if order else (None, None)
        text = "-".join(order) if order else None
        found.append((control, i // shared, 0, f"{i // shared}", learnt, order is None, text, *both))
    return pd.DataFrame(found, columns=columns)


def test_orders_drawn_at_random_give_chance():
    stream = np.random.default_rng(0)
    orders = [canonical(stream.permutation(EMOTIONS).tolist()) for _ in range(3000)]
    found = chances(rows(orders, "shuffled"))
    for kind, even in (("agrees", 1 / 60), ("agrees_either", 1 / 30)):
        part = found[kind].shuffled
        assert part.cells == part.draws == 3000 and part.interval[0] < even < part.interval[1]
        assert part.interval[1] - part.interval[0] < 0.015
    assert (found["agrees"].even, found["agrees_either"].even) == ("1/60", "1/30")


def test_kinds_of_cells_are_kept_apart():
    table = pd.concat([
        rows([PAPER_ORDER, SWAPPED_ORDER, None], ""), rows([EMOTIONS], "", learnt=False),
        rows([EMOTIONS, EMOTIONS], "shuffled"), rows([SWAPPED_ORDER], "untrained"),
    ], ignore_index=True)  # fmt: skip
    found = chances(table)["agrees_either"]
    assert (found.learnt.hits, found.learnt.cells, found.learnt.lines) == (2, 2, 1)
    assert (found.trained.hits, found.trained.cells) == (2, 3)
    assert (found.shuffled.hits, found.shuffled.cells) == (0, 2)
    assert (found.untrained.hits, found.untrained.cells) == (1, 1)
    assert chances(table)["agrees"].untrained.hits == 0
    text = "\n".join(as_lines(chances(table)))
    assert "2 of 2 (100%, 95 % 16% to 100%, 1 more on a line)" in text and "1/30" in text


def test_cells_of_one_shuffle_are_one_trial():
    once = chances(rows([PAPER_ORDER, EMOTIONS] * 10, "shuffled"))["agrees"].shuffled
    often = chances(rows([PAPER_ORDER, EMOTIONS] * 10, "shuffled", shared=10))["agrees"].shuffled
    assert once.share == often.share == 0.5 and (once.draws, often.draws) == (20, 2)
    assert often.interval[0] < 0.05 < once.interval[0]
    # other seeds and folds do not make other shuffles, nor the same seed the same ones
    table = rows([PAPER_ORDER, EMOTIONS] * 10, "shuffled")
    assert chances(table.assign(labels="a"))["agrees"].shuffled.draws == 1
    assert chances(table.assign(seed=1))["agrees"].shuffled.draws == 20
    true = table.assign(control="", labels="a")
    assert chances(true)["agrees"].trained.draws == 20 and chances(true.assign(seed=1))["agrees"].trained.draws == 1


def test_clopper_and_pearson():
    for hits, count in ((0, 30), (1, 30), (15, 30), (30, 30)):
        known = binomtest(hits, count).proportion_ci(0.95, method="exact")
        assert clopper_pearson(hits / count, count) == pytest.approx((known.low, known.high))


def test_no_cells_no_orders():
    found = chances(rows([], ""))["agrees"]
    assert found.shuffled.share is None and found.even is None
    assert "no cell with a circular order" in as_lines({"agrees": found})[1]
    lines = chances(rows([None, None], ""))["agrees"]
    assert lines.trained.lines == 2 and lines.trained.interval is None
    assert percentiles([1.0] * 9) is None and percentiles(list(range(101))) == pytest.approx((2.5, 97.5))
