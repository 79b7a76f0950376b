from __future__ import annotations

import math

import numpy as np
import pytest

from siamplex.engine.training.rates import RatePolicy
from siamplex.errors import PrototxtError
from siamplex.schema import prototxt


def policy(text):
    return RatePolicy(prototxt.parse(text, "SolverParameter", "solver.prototxt"))


BASE = "base_lr: 0.1 max_iter: 100 gamma: 0.5 power: 2 stepsize: 10 stepvalue: 4 stepvalue: 7 "


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("fixed", lambda i: 0.1),
        ("step", lambda i: 0.1 * 0.5 ** (i // 10)),
        ("exp", lambda i: 0.1 * 0.5**i),
        ("inv", lambda i: 0.1 * (1 + 0.5 * i) ** -2),
        ("multistep", lambda i: 0.1 * 0.5 ** ((i >= 4) + (i >= 7))),
        ("poly", lambda i: 0.1 * (1 - i / 100) ** 2),
        ("sigmoid", lambda i: 0.1 / (1 + math.exp(-0.5 * (i - 10)))),
    ],
)
def test_policies(name, formula):
    rate = policy(BASE + f"lr_policy: '{name}'")
    for i in range(40):
        found = rate(i)
        assert found == pytest.approx(formula(i), rel=2e-7)
        assert found == np.float32(found)


def test_multistep_remembers_its_step():
    rate = policy(BASE + "lr_policy: 'multistep'")
    for i in range(6):
        rate(i)
    assert rate.current_step == 1


@pytest.mark.parametrize(
    ("values", "steps"),
    [((2, 4), [0, 0, 1, 1, 2, 2, 2]), ((4, 2), [0, 0, 0, 0, 1, 2, 2]), ((0, 0, 0), [1, 2, 3, 3, 3, 3, 3])],
)
def test_step_values_are_counted_in_their_order_one_an_iteration(values, steps):
    stepvalues = " ".join(f"stepvalue: {value}" for value in values)
    rate = policy(f"base_lr: 1 lr_policy: 'multistep' gamma: 0.5 {stepvalues}")
    assert [rate(i) for i in range(7)] == [0.5**step for step in steps]


@pytest.mark.parametrize("text", ["'exp' gamma: 2", "'step' gamma: 2 stepsize: 1", "'inv' gamma: 1 power: -1000"])
def test_a_rate_beyond_all_numbers_is_infinite(text):
    assert policy(f"base_lr: 1 lr_policy: {text}")(500) == math.inf


def test_settings_of_other_policies_have_no_effect():
    rate = policy("base_lr: 1 lr_policy: 'fixed' gamma: -1 stepsize: -1 stepvalue: 4 stepvalue: 2 power: nan")
    assert [rate(i) for i in range(6)] == [1] * 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr_policy: 'warmup'", r"solver.prototxt:1: lr_policy 'warmup' is not supported"),
        ("lr_policy: 'step' gamma: 0.1", "stepsize must be positive"),
        ("lr_policy: 'step' gamma: 0.1 stepsize: 0", "stepsize must be positive"),
        ("lr_policy: 'sigmoid' gamma: 0.1", "stepsize must be positive"),
        ("lr_policy: 'inv' gamma: nan", "gamma nan is no number"),
        ("lr_policy: 'multistep' gamma: -1", "gamma -1 is negative"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(PrototxtError, match=message):
        policy("base_lr: 1 max_iter: 5 " + text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        # the example solver of LeNet
        ('base_lr: 0.01 lr_policy: "inv" gamma: 0.0001 power: 0.75', {600: "0.0095724", 5800: "0.0070959"}),
        ('base_lr: 0.01 lr_policy: "inv" gamma: 0.001 power: 0.75', {4: "0.00997011"}),
    ],
)
def test_inv_is_rounded_as_caffe_rounds_it(text, printed):
    """In double precision these print 0.00957239, 0.00709589 and 0.0099701."""
    rate = RatePolicy(prototxt.parse(text, "SolverParameter"))
    assert {i: f"{rate(i):.6g}" for i in printed} == printed
