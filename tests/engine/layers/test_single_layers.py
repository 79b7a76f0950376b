"""What Caffe makes of nets of one layer, in cases where tools/compare_layers.py found siamplex to differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.errors import PrototxtError
from tests.engine.conftest import make_net

STREAM = np.random.default_rng(3)


def fed(layer: str, *shapes: tuple[int, ...], phase: str = "TRAIN", net: str = "") -> Net:
    """A net of one layer with inputs a, b, ... of these shapes."""
    inputs = ""
    for name, shape in zip("abcd", shapes, strict=False):
        dims = " ".join(f"dim: {size}" for size in shape)
        inputs += f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ {dims} }} }} }} "
    return make_net(f"{net} {inputs} layer {{ name: 'it' {layer} }}", phase)


def values(*shape: int) -> torch.Tensor:
    """Normally distributed values with room for a gradient."""
    return torch.tensor(STREAM.normal(size=shape).astype(np.float32), requires_grad=True)


def run(net: Net, *given: torch.Tensor, train: bool = True) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and blobs of a forward pass over the inputs a, b, ..."""
    return net.forward(Context(train), dict(zip("abcd", given, strict=False)))


def test_a_layer_that_works_in_place_on_an_input_runs_where_its_value_is_given():
    x = torch.tensor([[-1.0, 2.0]])
    _, blobs = run(fed("type: 'ReLU' bottom: 'a' top: 'a'", (1, 2)), x)
    assert blobs["a"].tolist() == [[0.0, 2.0]]
