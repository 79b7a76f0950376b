"""Layers that carry values from one forward pass to the next, as Caffe's LSTM and RNN do.

What such a layer computes depends on the passes before, not on its bottoms alone.  It therefore runs exactly once in
each pass: nothing stands in for it, and a pass that is undone puts its values back.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from siamplex.engine.net.layer import Layer
from siamplex.engine.net.node import Node


@dataclass
class CarryingLayer(Layer):
    """Base of layer types that carry values, an array for each of ``states``.

    ``carried`` are these arrays, flat float32, all of one size; there are none before the first pass.  A pass replaces
    them and never writes into them, so that who holds them can put them back.
    """

    carried: list[torch.Tensor] = field(default_factory=list)

    states: ClassVar[tuple[str, ...]] = ()

    def after_pass(self) -> None:
        """Called at the end of a pass over the net, where layers work in place."""


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


def shared_notes(nodes: Iterable[Node]) -> Iterator[str]:
    """A remark on each layer that learns with another's weights, which Caffe 1.0 gets wrong.

    It lets the two have one array at the first step only.  At the later steps the second layer keeps its filler's
    values, and their gradient is lost.
    """
    for node in nodes:
        owners = dict.fromkeys(p.layer for p in node.params if p.layer != node.name)
        if isinstance(node.layer, CarryingLayer) and node.train and owners:
            what = (
                f"has the weights of {', '.join(owners)} at all steps; Caffe 1.0 shares them at the first step alone "
                "while it trains, so its losses differ"
            )
            yield str(node.layer.spec.error(what, "param", 0))


def as_text(values: Sequence[torch.Tensor]) -> list[str]:
    """Carried arrays for a JSON file: base64 of float32, little-endian."""
    return [base64.b64encode(value.cpu().numpy().astype("<f4").tobytes()).decode() for value in values]


def from_text(content: Any, count: int) -> list[torch.Tensor]:
    """Back from :func:`as_text`; raises ValueError for anything but ``count`` arrays of one size, or none."""
    try:
        raw = [base64.b64decode(one, validate=True) for one in content]
        values = [torch.from_numpy(np.frombuffer(one, "<f4").astype(np.float32)) for one in raw]
    except (TypeError, binascii.Error) as error:
        raise ValueError(str(error)) from None
    if len(values) not in (0, count) or len({len(value) for value in values}) > 1:
        raise ValueError(f"{len(values)} arrays")
    return values
