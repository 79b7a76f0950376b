"""The dual form of a wide weight against plain SGD on the weight itself, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.fast import dead_units, gram_arrays, products
from siamplex.engine.fast import gram as grams
from siamplex.engine.fast.gram import GramWeight
from siamplex.engine.net.node import Parameter

_IMAGES, _WIDTH, _OUT, _BATCH = 9, 40, 5, 4
_RATE, _DECAY = 0.02, 0.05


class Table:
    """Features of some images, more of them later."""

    prepared = None

    def __init__(self, features: torch.Tensor, known: int) -> None:
        self._all, self._known = features, known
        self._grow = lambda first, last: None

    @property
    def features(self) -> torch.Tensor:
        return self._all[: self._known]

    def __len__(self) -> int:
        return self._known

    def on_growth(self, grow) -> None:
        self._grow = grow
        grow(0, self._known)

    def add(self, count: int) -> None:
        first, self._known = self._known, self._known + count
        self._grow(first, self._known)


def start(seed=0, known=_IMAGES, momentum=0.9, velocity=None):
    stream = torch.Generator().manual_seed(seed)
    features = torch.randn(_IMAGES, _WIDTH, generator=stream)
    weight = torch.randn(_OUT, _WIDTH, generator=stream)
    table = Table(features, known)
    parameter = Parameter("fc", 0, "", 1.0, 1.0, weight.clone())
    gram = GramWeight(parameter, table, velocity, momentum)  # type: ignore[arg-type]
    return gram, table, features.double().numpy(), weight.double().numpy()


def steps(gram, features, w, v, momentum, count, images, seed=1):
    """The same steps on both; returns what the plain form has then."""
    stream = np.random.default_rng(seed)
    for _ in range(count):
        rows = stream.integers(0, images, _BATCH)
        gradient = stream.normal(size=(_BATCH, _OUT))
        found = gram.outputs(torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(found, features[rows] @ w.T, rtol=1e-4, atol=2e-4)
        gram.add_gradient(torch.from_numpy(rows), torch.from_numpy(gradient))
        gram.update(_RATE, _DECAY, 1.0)
        v = momentum * v + _RATE * (gradient.astype(np.float32).T @ features[rows] + _DECAY * w)
        w = w - v
    return w, v


# 0.9^150 is 1e-7: P is multiplied out twice on the way
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_follows_plain_sgd(momentum):
    gram, _, features, w = start(momentum=momentum)
    w, v = steps(gram, features, w, np.zeros_like(w), momentum, 150, _IMAGES - 2)
    rest = torch.arange(_IMAGES)  # two of them were never trained on
    np.testing.assert_allclose(gram.outputs(rest).numpy(), features @ w.T, rtol=1e-4, atol=2e-4)
    gram.settle()
    assert gram.velocity is not None
    np.testing.assert_allclose(gram.parameter.tensor.numpy(), w, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gram.velocity.numpy(), v, rtol=1e-4, atol=1e-4)
    w, v = steps(gram, features, w, v, momentum, 20, _IMAGES, seed=2)  # and on from there
    np.testing.assert_allclose(gram.outputs(rest).numpy(), features @ w.T, rtol=1e-4, atol=2e-4)


def test_the_table_may_grow_on_the_way():
    gram, table, features, w = start(known=4)
    w, v = steps(gram, features, w, np.zeros_like(w), 0.9, 10, 4)
    table.add(5)
    w, v = steps(gram, features, w, v, 0.9, 10, _IMAGES, seed=2)
    gram.settle()
    np.testing.assert_allclose(gram.parameter.tensor.numpy(), w, rtol=1e-4, atol=1e-4)


def test_a_restored_state_goes_on_bit_for_bit():
    gram, _, features, w = start()
    w, v = steps(gram, features, w, np.zeros_like(w), 0.9, 25, 6)
    other, *_ = start()
    other.restore({name: array.clone() for name, array in gram.state().items()})
    for one in (gram, other):
        steps(one, features, w, v, 0.9, 25, _IMAGES, seed=3)
    for name, array in gram.state().items():
        assert torch.equal(array, other.state()[name]), name


def test_refuses_the_state_of_another_weight():
    gram, _, features, w = start()
    steps(gram, features, w, np.zeros_like(w), 0.9, 5, 6)
    state = gram.state()
    with pytest.raises(ValueError, match="shapes"):
        gram.restore({**state, "spans": state["spans"][:, 1:]})
    with pytest.raises(ValueError, match="shapes"):
        gram.restore({name: array for name, array in state.items() if name != "look"})
    some = gram._all.of(torch.tensor([0, 1]))
    active = {f"awake_{name}": array for name, array in some._asdict().items()}
    with pytest.raises(ValueError, match="units"):
        gram.restore({**state, **active, "units": torch.tensor([0, _OUT])})
    for rows in ([0, 1, 2, 3, 4, _IMAGES], [0, 1, 2, 3, 4, 4]):
        with pytest.raises(ValueError, match="rows"):
            gram.restore({**state, "trained": torch.tensor(rows)})


# --- behind a ReLU


@pytest.fixture
def often(monkeypatch):
    """Look for units to leave alone and for columns of zeros wherever there are any, and multiply P out in between."""
    monkeypatch.setattr(dead_units, "FIRST_LOOK", 3)
    monkeypatch.setattr(dead_units, "LAST_LOOK", 10)
    monkeypatch.setattr(grams, "_LEAST_SCALE", 0.8)
    monkeypatch.setattr(dead_units, "WORTH_IT", 0.99)
    monkeypatch.setattr(products, "_LOOK", 0)


def sink(count, out):
    """Biases that make some of the units dead, more of them as time goes on: (count, out)."""
    down = np.linspace(0, -12, out)
    return np.minimum(0, down + np.linspace(2, -8, count)[:, None]).astype(np.float32)


def rectified_steps(gram, features, w, v, biases, seed=1):
    """The same steps on both, behind a ReLU; returns what the plain form has, and how many were active each time."""
    stream, active = np.random.default_rng(seed), []
    for bias in biases:
        rows = stream.integers(0, len(features), _BATCH)
        z, units = gram.apply_active(torch.from_numpy(rows), torch.from_numpy(bias))
        chosen = np.arange(len(w)) if units is None else units.numpy()
        active.append(len(chosen))
        plain = features[rows] @ w.T + bias
        np.testing.assert_allclose(z.detach().numpy(), plain[:, chosen], rtol=1e-4, atol=3e-4)
        dead = np.setdiff1d(np.arange(len(w)), chosen)
        assert (features @ w[dead].T + bias[dead] < 0).all()  # for every image of the table
        gradient = stream.normal(size=plain.shape).astype(np.float32) * (plain > 0)
        z.backward(torch.from_numpy(gradient[:, chosen]))
        gram.update(_RATE, _DECAY, 1.0)
        v = 0.9 * v + _RATE * (gradient.T @ features[rows] + _DECAY * w)
        w = w - v
    return w, v, active


def test_units_that_are_dead_are_left_alone(often):
    gram, _, features, w = start()
    w, v, active = rectified_steps(gram, features, w, np.zeros_like(w), sink(120, _OUT))
    assert active[0] == _OUT and active[-1] < _OUT
    rest = torch.arange(_IMAGES)
    np.testing.assert_allclose(gram.outputs(rest).numpy(), features @ w.T, rtol=1e-4, atol=3e-4)  # dead ones too
    gram.settle()
    assert gram.velocity is not None
    np.testing.assert_allclose(gram.parameter.tensor.numpy(), w, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gram.velocity.numpy(), v, rtol=1e-4, atol=1e-4)


def test_they_are_active_again_when_something_else_lifts_them(often, monkeypatch):
    monkeypatch.setattr(dead_units, "FIRST_LOOK", 2)
    monkeypatch.setattr(dead_units, "LAST_LOOK", 1000)
    gram, _, features, w = start()
    gram.coming = lambda: torch.arange(_IMAGES)  # a row trained on for the first time would make them active too
    low = np.full((10, _OUT), -1000, np.float32)
    high = np.zeros((10, _OUT), np.float32)
    *_, active = rectified_steps(gram, features, w, np.zeros_like(w), np.concatenate([low, high]))
    assert active[:2] == [_OUT, _OUT] and active[2:10] == [0] * 8 and active[10:] == [_OUT] * 10


def test_they_are_active_again_when_the_table_grows(often):
    gram, table, features, w = start(known=4)
    w, v, _ = rectified_steps(gram, features[:4], w, np.zeros_like(w), sink(60, _OUT))
    assert gram.units is not None
    table.add(5)
    np.testing.assert_allclose(gram.outputs(torch.arange(9)).numpy(), features @ w.T, rtol=1e-4, atol=3e-4)
    w, v, active = rectified_steps(gram, features, w, v, sink(60, _OUT), seed=2)
    assert active[0] == _OUT
    gram.settle()
    np.testing.assert_allclose(gram.parameter.tensor.numpy(), w, rtol=1e-4, atol=1e-4)


def test_rows_not_trained_on_follow_too(often):
    gram, _, features, w = start()
    w, v, active = rectified_steps(gram, features[:6], w, np.zeros_like(w), sink(60, _OUT))
    assert active[-1] < _OUT and len(gram.trained) == 6
    rest = torch.tensor([7, 2, 8, 6, 0])
    np.testing.assert_allclose(gram.outputs(rest).numpy(), features[rest] @ w.T, rtol=1e-4, atol=3e-4)
    only = torch.tensor([8, 6])
    np.testing.assert_allclose(gram.outputs(only).numpy(), features[only] @ w.T, rtol=1e-4, atol=3e-4)
    w, v, _ = rectified_steps(gram, features[:6], w, v, sink(3, _OUT), seed=2)  # what was computed for them is past
    np.testing.assert_allclose(gram.outputs(only).numpy(), features[only] @ w.T, rtol=1e-4, atol=3e-4)
    gram.settle()
    np.testing.assert_allclose(gram.outputs(only).numpy(), features[only] @ w.T, rtol=1e-4, atol=3e-4)


def test_gradients_of_one_row_are_one():
    stream = np.random.default_rng(3)
    rows = stream.integers(0, 20, 40)
    gradient = stream.normal(size=(40, 7)).astype(np.float32)
    gradient[::3] = 0
    found, sums = gram_arrays.merged(torch.from_numpy(rows), torch.from_numpy(gradient))
    whole = np.zeros((20, 7))
    np.add.at(whole, rows, gradient)
    assert len(found) % 16 == 0 and len(found) < 40
    again = torch.zeros(20, 7).index_add_(0, found, sums)
    np.testing.assert_allclose(again.numpy(), whole, rtol=1e-5, atol=1e-6)
    nothing, _ = gram_arrays.merged(torch.from_numpy(rows), torch.zeros(40, 7))
    assert len(nothing) == 0


def test_a_gradient_under_way_survives_it(often):
    gram, _, features, w = start()
    zero = np.zeros_like(w)
    w, v, _ = rectified_steps(gram, features, w, zero, sink(60, _OUT))
    assert gram.units is not None
    rows = torch.arange(3)
    gradient = torch.ones(3, len(gram.units))
    gram.add_gradient(rows, gradient)
    whole = np.zeros((3, _OUT))
    whole[:, gram.units.numpy()] = 1
    gram.apply(rows)  # something that wants all units
    gram.update(_RATE, _DECAY, 1.0)
    v = 0.9 * v + _RATE * (whole.T @ features[:3] + _DECAY * w)
    np.testing.assert_allclose(gram.outputs(torch.arange(9)).numpy(), features @ (w - v).T, rtol=1e-4, atol=3e-4)


@pytest.mark.parametrize("after", [40, 61, 62, 63])
def test_a_state_with_dead_units_goes_on_bit_for_bit(often, after):
    biases = sink(100, _OUT)
    gram, _, features, w = start()
    w, v, active = rectified_steps(gram, features, w, np.zeros_like(w), biases[:after])
    other, *_ = start()
    other.restore({name: array.clone() for name, array in gram.state().items()})
    assert (gram.units is None) == (other.units is None)
    for one in (gram, other):
        *_, active = rectified_steps(one, features, w, v, biases[after:], seed=3)
    assert active[-1] < _OUT
    for name, array in gram.state().items():
        assert torch.equal(array, other.state()[name]), name


def test_numbers_too_small_are_taken_for_nothing():
    arrays = gram_arrays.GramArrays(torch.full((2, 1, 1), 1e-20), torch.full((2, 1, 1), 1e-20))
    arrays.multiply(np.diag([1.0, 1e-15]))
    assert arrays.spans.flatten().tolist() == pytest.approx([1e-20, 0.0])
    assert arrays.products.flatten().tolist() == pytest.approx([1e-20, 0.0])
