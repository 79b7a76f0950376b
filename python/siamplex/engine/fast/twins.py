"""Merged twin towers: one pass over the distinct images of a batch replaces the passes of both towers.

The towers share their weights, so up to the first random layer (dropout) they are the same function of an
image.  One batch of all distinct images replaces two batches, and each shared weight has one gradient instead of
a sum of two.  The results are the same up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from siamplex.engine.fast.prefix import Feature, find_prefix, signature
from siamplex.engine.fast.tails import Tail, follow
from siamplex.engine.layers.data import Data
from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node
from siamplex.engine.net.sample_numbers import SampleNumbers

Part = tuple[int, int]


def merge_twins(net: Net) -> str | None:
    """Merge the twin towers of ``net``; returns the range of merged layers, or None where nothing is merged."""
    prefix = find_prefix(net, learning=True)
    features = list(prefix.entries.values())
    if len(features) < 2 or len({f.data for f in features}) != 1:
        return None
    if len({signature(f, prefix) for f in features}) != 1 or len({f.part for f in features}) < 2:
        return None
    batch = _Batch(net, prefix.data[features[0].data], features)
    net.stand_ins.nodes[batch.data.name] = batch.read
    net.stand_ins.skipped |= prefix.nodes
    for (name, index), feature in prefix.entries.items():
        net.stand_ins.read(name, index, batch.rows_of(feature.part))
    last = features[0].chain[-1]
    if len(prefix.entries) == 2:
        first, second = (net.node(name) for name, _ in prefix.entries)
        pairs = follow(net, first, second)
        if pairs:
            Tail(net, pairs, batch.joined(*(f.part for f in features)))
            last = pairs[-1][0]
    return f"{features[0].chain[0].name} to {last.name}"


class _Batch:
    """Replaces the data layer: reads pairs and runs the shared layers on their distinct images."""

    def __init__(self, net: Net, data: Node, features: list[Feature]) -> None:
        self.data, self._net = data, net
        self._chain = features[0].chain
        self._parts = sorted({f.part for f in features})
        self._rows: dict[Part, torch.Tensor] = {}
        self._shared = torch.empty(0)

    def read(self, context: Context) -> list[torch.Tensor]:
        layer = self.data.layer
        assert isinstance(layer, Data)
        values, labels = layer.uniform_batch()
        numbers = SampleNumbers()
        for low, high in self._parts:
            rows = [numbers.number(sample) for sample in values[:, low:high]]
            self._rows[(low, high)] = torch.tensor(rows, device=self._net.device)
        # the signatures are equal, so both parts have the same mean and scale
        x = torch.from_numpy(layer.transform.apply_part(np.stack(numbers.samples), self._parts[0]))
        x = x.to(self._net.device)
        for node in self._chain:
            x = node.layer.forward([x], [p.tensor for p in node.params], context)[0]
        self._shared = x
        nothing = torch.empty(0, device=self._net.device)
        return [nothing, torch.from_numpy(labels)][: len(self.data.tops)]

    def rows_of(self, part: Part) -> Callable[[], torch.Tensor]:
        """A function that returns the shared layers' output for one image of each pair."""
        return lambda: self._shared.index_select(0, self._rows[part])

    def joined(self, first: Part, second: Part) -> Callable[[], torch.Tensor]:
        """A function that returns the shared layers' output for all first images, then for all second images."""
        return lambda: self._shared.index_select(0, torch.cat([self._rows[first], self._rows[second]]))
