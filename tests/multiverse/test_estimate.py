"""The forecast of a multiverse's time."""

from __future__ import annotations

import pytest

from siamplex.multiverse.estimate import Pace, Work


def test_long_products_and_many_short_iterations_both_take_time():
    pace = Pace(rate=1e9, call=1e-6)
    assert pace.of(Work(1e11, 10)) == pytest.approx(130, rel=0.02)  # 100 s of arithmetic
    assert 5 < pace.of(Work(1e6, 10_000)) < 20  # hardly any
    assert pace.of(Work(0.0, 0)) == 0 and not pace.is_measured


def test_finished_trainings_correct_the_rest_in_proportion():
    pace = Pace(rate=1e9, call=1e-6)
    long, short = Work(1e11, 5000), Work(2e10, 1000)
    before = pace.of(long), pace.of(short)
    pace.done(long, 2 * before[0])
    assert pace.is_measured
    assert pace.of(long) == pytest.approx(2 * before[0]) and pace.of(short) == pytest.approx(2 * before[1])
    pace.done(short, 5 * before[1])
    assert 2 * before[0] < pace.of(long) < 5 * before[0]
    assert pace.of(Work(0.0, 0)) == 0


def test_this_machine_is_measured():
    pace = Pace()
    assert 1e8 < pace.rate < 1e13 and 1e-8 < pace.call < 1e-3
