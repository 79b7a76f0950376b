"""The Gram form of a wide weight against plain SGD on the weight itself, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.gram import GramWeight
from siamplex.engine.net import Parameter

_IMAGES, _WIDTH, _OUT, _BATCH = 9, 40, 5, 4
_RATE, _DECAY = 0.02, 0.05


class Table:
    """Features of some images, more of them later."""

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


def start(seed=0, known=_IMAGES, velocity=None):
    stream = torch.Generator().manual_seed(seed)
    features = torch.randn(_IMAGES, _WIDTH, generator=stream)
    weight = torch.randn(_OUT, _WIDTH, generator=stream)
    table = Table(features, known)
    gram = GramWeight(Parameter("fc", 0, "", 1.0, 1.0, weight.clone()), table, velocity)  # type: ignore[arg-type]
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
        gram.update(_RATE, momentum, _DECAY, 1.0)
        v = momentum * v + _RATE * (gradient.astype(np.float32).T @ features[rows] + _DECAY * w)
        w = w - v
    return w, v


# 0.9^150 is 1e-7: the scale of the velocity is multiplied out twice on the way
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_follows_plain_sgd(momentum):
    gram, _, features, w = start()
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


def test_only_images_that_learn_have_rows():
    gram, _, features, w = start()
    steps(gram, features, w, np.zeros_like(w), 0.9, 30, 6)
    state = gram.state()
    assert sorted(state["moved"].tolist()) == list(range(6))
    assert state["a"].shape == state["av"].shape == (6, _OUT)


def test_a_restored_state_goes_on_bit_for_bit():
    gram, _, features, w = start()
    w, v = steps(gram, features, w, np.zeros_like(w), 0.9, 25, 6)
    other, *_ = start()
    other.restore({name: array.clone() for name, array in gram.state().items()})
    for one in (gram, other):
        steps(one, features, w, v, 0.9, 25, _IMAGES, seed=3)
    for name, array in gram.state().items():
        assert torch.equal(array, other.state()[name]), name


@pytest.mark.parametrize("moved", [[0, 0], [0, _IMAGES], [-1, 0]])
def test_refuses_rows_that_are_not_the_tables(moved):
    gram, _, features, w = start()
    steps(gram, features, w, np.zeros_like(w), 0.9, 1, 2)
    state = gram.state()
    assert len(state["moved"]) == 2
    other, *_ = start()
    with pytest.raises(ValueError, match="rows"):
        other.restore({**state, "moved": torch.tensor(moved)})
