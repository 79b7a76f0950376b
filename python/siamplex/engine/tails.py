"""Running twins as one past the first random layer: both halves of each pair in one batch.

Behind the layers whose result depends on the image alone come layers that are the same for both
twins but for their dropout masks.  They run once, on the first twins and the second twins of all
pairs one below the other, each half under its own masks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from siamplex.engine.layer import Context
from siamplex.engine.layers.dropout import Dropout
from siamplex.engine.net import Net, Node
from siamplex.engine.prefix import same_function

Pair = tuple[Node, Node]
Start = Callable[[], torch.Tensor]


def follow(net: Net, first: Node, second: Node) -> list[Pair]:
    """Pairs of nodes from ``first`` and ``second`` on that are one function but for their masks."""
    pairs: list[Pair] = []
    a: Node | None = first
    b: Node | None = second
    while a is not None and b is not None and a is not b and _pairs_up(a, b):
        pairs.append((a, b))
        a, b = _only_reader(net, a), _only_reader(net, b)
    return pairs


def _pairs_up(a: Node, b: Node) -> bool:
    plain = all(
        len(node.bottoms) == len(node.tops) == 1 and all(node.propagate) and not any(node.loss_weights)
        for node in (a, b)
    )
    masks = isinstance(a.layer, Dropout)
    return plain and (a.layer.per_sample or masks) and a.train == b.train and same_function(a, b)


def _only_reader(net: Net, node: Node) -> Node | None:
    """The one node that reads what ``node`` writes; None where there are none or several."""
    name = node.tops[0]
    readers = []
    for other in net.nodes[net.nodes.index(node) + 1 :]:
        if name in other.bottoms:
            readers.append(other)
        if name in other.tops:  # from here on the name means something else
            break
    return readers[0] if len(readers) == 1 else None


class Tail:
    """Stands in for paired nodes; ``start`` gives their common bottom, first twins then second."""

    def __init__(self, net: Net, pairs: list[Pair], start: Start) -> None:
        self._pairs, self._start = pairs, start
        self._halves: tuple[torch.Tensor, ...] = ()
        last = pairs[-1]
        earlier, later = sorted(last, key=net.nodes.index)
        half = {last[0].name: 0, last[1].name: 1}
        net.skipped |= {node.name for pair in pairs[:-1] for node in pair}
        net.overrides[earlier.name] = lambda context: self._run(context, half[earlier.name])
        net.overrides[later.name] = lambda context: self._give(half[later.name])

    def _run(self, context: Context, half: int) -> list[torch.Tensor]:
        x = self._start()
        for a, b in self._pairs:
            if isinstance(a.layer, Dropout) and isinstance(b.layer, Dropout):
                x = _drop(x, a.layer, b.layer, context)
            else:
                x = a.layer.forward([x], [p.tensor for p in a.params], context)[0]
        self._halves = x.split(len(x) // 2)  # in one go, and so back in one go
        return self._give(half)

    def _give(self, half: int) -> list[torch.Tensor]:
        return [self._halves[half]]


def _drop(x: torch.Tensor, a: Dropout, b: Dropout, context: Context) -> torch.Tensor:
    if not context.train:
        return x
    return x * a.twin_masks(b, tuple(x.shape), context).to(x.device)
