from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamplex.engine.fast.feature_table import FeatureTable, SampleNumbers, TableFull


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_equal_samples_have_one_number(picks):
    stream = np.random.default_rng(0)
    samples = stream.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    numbers = SampleNumbers()
    found = [numbers.number(samples[p]) for p in picks]
    order = list(dict.fromkeys(picks))
    assert found == [order.index(p) for p in picks] and len(numbers) == len(order)


def test_samples_that_agree_in_their_key_are_told_apart():
    a = np.zeros((3, 40, 40), np.uint8)
    b = a.copy()
    b[0, 0, 1] = 1  # between the values a key is made of
    numbers = SampleNumbers()
    assert [numbers.number(x) for x in (a, b, a, b)] == [0, 1, 0, 1]
    assert numbers._by_key and len(numbers._by_key) == 1


def test_forgetting():
    numbers = SampleNumbers()
    samples = [np.full((1, 2, 2), i, np.uint8) for i in range(4)]
    for sample in samples:
        numbers.number(sample)
    numbers.forget(2)
    assert [numbers.number(s) for s in (samples[1], samples[3])] == [1, 2]


def test_a_full_table_keeps_what_it_has():
    import torch

    table = FeatureTable([], lambda x: torch.from_numpy(x.astype(np.float32)), limit=3)
    samples = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1)
    grown = []
    table.on_growth(lambda first, last: grown.append((first, last)))
    assert table.lookup(samples[[1, 0, 1]]).tolist() == [0, 1, 0]
    with pytest.raises(TableFull):
        table.lookup(samples[[2, 3]])
    assert table.lookup(samples[[5, 1, 5]]).tolist() == [2, 0, 2]
    assert table.features.ravel().tolist() == [1, 0, 5] and grown == [(0, 2), (2, 3)]
