"""Layers that carry values from one forward pass to the next, as Caffe's LSTM and RNN do.

What such a layer computes depends on the passes before, not on its bottoms alone.  It therefore runs exactly once in
each pass: nothing stands in for it, and a pass that is undone puts its values back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch

from siamplex.engine.net.layer import Layer
from siamplex.engine.net.node import Node


@dataclass
class CarryingLayer(Layer):
    """Base of layer types that carry values; ``carried`` are these, flat float32 arrays, empty before the first pass.

    A pass replaces the arrays and never writes into them, so that who holds them can put them back.
    """

    carried: list[torch.Tensor] = field(default_factory=list)


def carrying(nodes: Iterable[Node]) -> Iterator[tuple[str, CarryingLayer]]:
    """(name, layer) of each layer that carries values."""
    for node in nodes:
        if isinstance(node.layer, CarryingLayer):
            yield node.name, node.layer


class Carried:
    """The values that layers carry at one moment."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._kept = [(layer, list(layer.carried)) for _, layer in carrying(nodes)]

    def put_back(self) -> None:
        """Let the layers carry these values again."""
        for layer, values in self._kept:
            layer.carried = list(values)
