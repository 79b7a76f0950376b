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


@pytest.mark.parametrize(("forced", "share"), [("", 0.0), ("force_backward: true", 1.0)])
def test_force_backward_overrides_propagate_down(forced, share):
    a, b = values(2, 3), values(2, 3)
    layer = "type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'y' propagate_down: false propagate_down: true loss_weight: 1"
    loss, _ = run(fed(layer, (2, 3), (2, 3), net=forced), a, b)
    loss.backward()
    assert b.grad is not None and b.grad.eq(1).all()
    assert share == 0 if a.grad is None else a.grad.eq(share).all()


def test_force_backward_does_not_reach_labels():
    layer = "type: 'SoftmaxWithLoss' bottom: 'a' bottom: 'b' propagate_down: true propagate_down: false"
    net = fed(layer, (2, 3), (2,), net="force_backward: true")
    assert net.node("it").propagate == [True, False]


@pytest.mark.parametrize(
    "layer",
    [
        "type: 'InnerProduct' bottom: 'a' top: 'a' inner_product_param { num_output: 4 }",
        "type: 'Convolution' bottom: 'a' top: 'a' convolution_param { num_output: 3 kernel_size: 1 }",
        "type: 'Pooling' bottom: 'a' top: 'a' pooling_param { kernel_size: 1 }",
        "type: 'LRN' bottom: 'a' top: 'a'",
        "type: 'EuclideanLoss' bottom: 'a' bottom: 'b' top: 'a'",
        "type: 'Tile' bottom: 'a' top: 'a' tile_param { tiles: 2 }",
        "type: 'Concat' bottom: 'a' bottom: 'b' top: 'a'",
    ],
)
def test_layers_that_overwrite_what_they_still_read_are_refused_in_place(layer):
    with pytest.raises(PrototxtError, match=r"net.prototxt:1: layer 'it' .*works not in place.*another name"):
        fed(layer, (2, 3, 4, 4), (2, 3, 4, 4))
