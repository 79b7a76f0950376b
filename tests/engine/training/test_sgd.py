from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.node import Parameter
from siamplex.engine.training.sgd import SGD
from siamplex.errors import PrototxtError
from siamplex.schema import prototxt


def setup(text="", lr_mult=1.0, decay_mult=1.0):
    weight = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    parameter = Parameter("fc", 0, "", lr_mult, decay_mult, weight)
    solver = prototxt.parse("momentum: 0.9 weight_decay: 0.1 " + text, "SolverParameter")
    return SGD(solver, [parameter]), weight


def test_the_rate_is_inside_the_history():
    """A lower rate leaves earlier velocity as it was (torch.optim.SGD would shrink it at once)."""
    sgd, weight = setup("weight_decay: 0".replace("weight_decay: 0", ""))
    sgd._p.weight_decay = 0
    w, v = weight.detach().numpy().copy(), np.zeros(3)
    for rate, gradient in ((0.1, 1.0), (0.1, -0.5), (0.001, 2.0), (0.001, 0.0)):
        weight.grad = torch.full((3,), gradient)
        sgd.update(rate)
        v = 0.9 * v + rate * gradient
        w = w - v
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-6)
    np.testing.assert_allclose(sgd.history(0).numpy(), v, rtol=1e-6)


@pytest.mark.parametrize(("kind", "pull"), [("L2", lambda w: w), ("L1", np.sign)])
def test_decay_and_multipliers(kind, pull):
    sgd, weight = setup(f"regularization_type: '{kind}'", lr_mult=2.0, decay_mult=0.5)
    w = weight.detach().numpy().copy()
    weight.grad = torch.ones(3)
    sgd.update(0.01)
    np.testing.assert_allclose(weight.detach().numpy(), w - 0.02 * (1 + 0.05 * pull(w)), rtol=1e-6)


def test_iter_size_scales_the_gradient_but_not_the_decay():
    sgd, weight = setup("iter_size: 4")
    w = weight.detach().numpy().copy()
    weight.grad = torch.full((3,), 8.0)
    sgd.update(0.01)
    np.testing.assert_allclose(weight.detach().numpy(), w - 0.01 * (2 + 0.1 * w), rtol=1e-6)


def test_clipping_scales_the_summed_gradient_before_decay():
    sgd, weight = setup("clip_gradients: 3")
    w = weight.detach().numpy().copy()
    weight.grad = torch.tensor([6.0, 0.0, 8.0])
    sgd.update(0.1)
    np.testing.assert_allclose(weight.detach().numpy(), w - 0.1 * (np.array([1.8, 0, 2.4]) + 0.1 * w), rtol=1e-6)
    weight.grad = torch.tensor([0.0, 1.0, 0.0])  # under the limit: as it is
    before = weight.detach().clone()
    velocity = sgd.history(0).clone()
    sgd.update(0.1)
    expected = before - (0.9 * velocity + 0.1 * (torch.tensor([0.0, 1.0, 0.0]) + 0.1 * before))
    torch.testing.assert_close(weight.detach(), expected)


def test_frozen_parameters_stay_unless_momentum_still_moves_them():
    sgd, weight = setup(lr_mult=0.0)
    before = weight.detach().clone()
    weight.grad = torch.ones(3)
    sgd.update(0.1)
    assert torch.equal(weight.detach(), before)
    sgd.set_history(0, torch.ones(3))
    sgd.update(0.1)
    torch.testing.assert_close(weight.detach(), before - 0.9)


def test_a_gradient_is_used_once():
    sgd, weight = setup()
    weight.grad = torch.ones(3)
    sgd.update(0.1)
    assert weight.grad is None


@pytest.mark.parametrize("text", ["regularization_type: 'L3'", "iter_size: 0"])
def test_refuses(text):
    with pytest.raises(PrototxtError):
        setup(text)
