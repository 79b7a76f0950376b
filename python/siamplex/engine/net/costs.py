"""The cost of a net, computed from its shapes: parameters, multiply-adds and memory of each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from siamplex.engine.layers.recurrent import Recurrent
from siamplex.engine.net.layer import Shape
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node
from siamplex.engine.net.wiring import AUTOMATIC

_FLOAT = 4  # bytes


@dataclass(frozen=True)
class LayerCost:
    """One layer: its tops with their shapes, its parameters, its cost at the file's batch size.

    ``parameters`` counts those that no earlier layer owns.  ``multiply_adds`` are those of a forward pass in
    convolutions, deconvolutions, inner products and recurrent layers; 0 for other types, whose work is of a lower
    order.  ``memory`` is the bytes of new tops; a top written in place needs none.  ``unnamed_loss`` says that it is a
    loss without tops.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[tuple[str, Shape], ...]
    parameters: int
    shared_with: tuple[str, ...]
    multiply_adds: int
    memory: int
    unnamed_loss: bool = False


@dataclass(frozen=True)
class NetCost:
    """All layers of a net in one phase; ``learned`` is the number of parameters with a learning rate other than 0."""

    name: str
    phase: str
    layers: tuple[LayerCost, ...]
    learned: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass; a backward pass has about twice as many."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def memory(self) -> int:
        """Bytes of blobs and parameters; in training also of their gradients and the velocities of what learns."""
        blobs = sum(layer.memory for layer in self.layers)
        if self.phase == "TEST":
            return blobs + _FLOAT * self.parameters
        return 2 * blobs + _FLOAT * (self.parameters + 2 * self.learned)


def cost_of(net: Net, types: Mapping[str, str] | None = None) -> NetCost:
    """The cost of a net, which may have shapes only; ``types`` are the file's layer types where the net has others."""
    shapes: dict[str, Shape] = {}
    layers = []
    for node in net.nodes:
        given = {name: shapes[name] for name in node.bottoms}
        tops = [(name, net.shapes[name]) for name in node.tops if name != AUTOMATIC]
        owned = [p for p in node.params if p.layer == node.name]
        new = [shape for name, shape in tops if name not in given]
        shapes.update(tops)
        layers.append(
            LayerCost(
                name=node.layer.spec.name,
                type=(types or {}).get(node.layer.spec.name, node.layer.spec.type),
                bottoms=tuple(node.bottoms),
                tops=tuple(tops),
                parameters=sum(p.tensor.numel() for p in owned),
                shared_with=tuple(dict.fromkeys(p.layer for p in node.params if p.layer != node.name)),
                multiply_adds=_multiply_adds(node, given, shapes),
                memory=_FLOAT * sum(math.prod(shape) for shape in new),
                unnamed_loss=AUTOMATIC in node.tops,
            )
        )
    learned = sum(p.tensor.numel() for p in net.parameters if p.lr_mult != 0)
    return NetCost(net.name, net.phase, tuple(layers), learned)


def _multiply_adds(node: Node, bottoms: Mapping[str, Shape], tops: Mapping[str, Shape]) -> int:
    kind = node.layer.spec.type
    if isinstance(node.layer, Recurrent):
        return node.layer.multiply_adds([bottoms[name] for name in node.bottoms])
    if kind not in ("Convolution", "Deconvolution", "InnerProduct"):
        return 0
    weights = node.params[0].tensor.numel()
    if kind == "InnerProduct":
        shape = bottoms[node.bottoms[0]]
        return weights * math.prod(shape[: node.layer.params.axis % len(shape)])
    # each weight is multiplied once for each output position, in a deconvolution for each input position
    places = [bottoms[name] for name in node.bottoms] if kind == "Deconvolution" else [tops[name] for name in node.tops]
    axis = node.layer.params.axis % len(places[0])
    return weights * sum(math.prod(shape[:axis]) * math.prod(shape[axis + 1 :]) for shape in places)
