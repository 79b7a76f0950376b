"""The tails of twin towers, run as one batch from the first dropout on.

Up to the first dropout a tower's result depends on the image alone.  The layers after it, the tail, differ between the
twins only in their dropout masks.  They run once, on a batch of the first images of all pairs followed by the second
images; each half has its own masks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from siamplex.engine.fast.kernels import FastKernels
from siamplex.engine.fast.rectified import linear_rectified
from siamplex.engine.layers.dropout import Dropout
from siamplex.engine.layers.inner_product import InnerProduct
from siamplex.engine.layers.relu import ReLU
from siamplex.engine.net.alike import same_function
from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node

Pair = tuple[Node, Node]
Start = Callable[[], torch.Tensor]
ActiveStart = Callable[[], tuple[torch.Tensor, torch.Tensor | None]]


def follow(net: Net, first: Node, second: Node) -> list[Pair]:
    """Pairs of nodes, from ``first`` and ``second`` on, that compute the same function except for dropout masks."""
    pairs: list[Pair] = []
    a: Node | None = first
    b: Node | None = second
    while a is not None and b is not None and a is not b and _pairs_up(a, b):
        pairs.append((a, b))
        a, b = _only_reader(net, a), _only_reader(net, b)
    return pairs


def _pairs_up(a: Node, b: Node) -> bool:
    plain = all(
        node.plain and len(node.bottoms) == len(node.tops) == 1 and all(node.propagate) and not any(node.loss_weights)
        for node in (a, b)
    )
    masks = isinstance(a.layer, Dropout)
    return plain and (a.layer.per_sample or masks) and a.train == b.train and same_function(a, b)


def _only_reader(net: Net, node: Node) -> Node | None:
    """The only node that reads the top of ``node``; None where there are none or several."""
    name = node.tops[0]
    readers = []
    for other in net.nodes[net.nodes.index(node) + 1 :]:
        if name in other.bottoms:
            readers.append(other)
        if name in other.tops:  # from here on the name is another blob
            break
    return readers[0] if len(readers) == 1 else None


class Tail:
    """Replaces the paired nodes; ``start`` computes their joint bottom, first twins then second twins.

    ``active``, if given, computes only the columns of the active units, and their numbers.
    """

    def __init__(self, net: Net, pairs: list[Pair], start: Start, active: ActiveStart | None = None) -> None:
        self._pairs, self._start, self._active = pairs, start, active
        self._steps = _steps(pairs)
        self._device = net.device.type
        self._halves: tuple[torch.Tensor, ...] = ()
        last = pairs[-1]
        earlier, later = sorted(last, key=net.nodes.index)
        half = {last[0].name: 0, last[1].name: 1}
        net.stand_ins.skipped |= {node.name for pair in pairs[:-1] for node in pair}
        net.stand_ins.nodes[earlier.name] = lambda context: self._run(context, half[earlier.name])
        net.stand_ins.nodes[later.name] = lambda context: self._give(half[later.name])

    def _run(self, context: Context, half: int) -> list[torch.Tensor]:
        together = not torch.is_autocast_enabled(self._device)
        steps = self._steps if together else [[pair] for pair in self._pairs]
        if self._active and context.train and _is_rectified(steps[0], context):
            x, units = self._active()
            x = _run_rectified(steps[0], x, context, units)
            steps = steps[1:]
        else:
            x = self._start()
        for step in steps:
            x = _run(step, x, context)
        self._halves = x.split(len(x) // 2)  # one operation, so that the backward pass is one as well
        return self._give(half)

    def _give(self, half: int) -> list[torch.Tensor]:
        return [self._halves[half]]


def _steps(pairs: list[Pair]) -> list[list[Pair]]:
    """The pairs in groups; an InnerProduct and the ReLU and dropout before it form one group and run as one."""
    steps: list[list[Pair]] = []
    before: list[Pair] = []  # a ReLU, and dropout behind it
    for pair in pairs:
        layer = pair[0].layer
        if isinstance(layer, ReLU) and not layer.params.negative_slope:
            steps += [[p] for p in before]
            before = [pair]
        elif isinstance(layer, Dropout) and len(before) == 1:
            before.append(pair)
        elif isinstance(layer, InnerProduct) and layer.params.axis == 1 and not layer.params.transpose and before:
            steps.append([*before, pair])
            before = []
        else:
            steps += [[p] for p in (*before, pair)]
            before = []
    return steps + [[p] for p in before]


def _run(step: list[Pair], x: torch.Tensor, context: Context) -> torch.Tensor:
    if x.dim() == 2 and _is_rectified(step, context):
        return _run_rectified(step, x, context)
    for a, b in step:
        masks = _masks((a, b), tuple(x.shape), context)
        if masks is not None:
            x = x * masks.to(x.device)
        elif not isinstance(a.layer, Dropout):
            x = a.layer.forward([x], [p.tensor for p in a.params], context)[0]
    return x


def _is_rectified(step: list[Pair], context: Context) -> bool:
    """Whether a step is ReLU, dropout and InnerProduct, and the weight's gradient is not kept as factors."""
    if len(step) == 1:
        return False
    kernels = context.kernels
    return not (isinstance(kernels, FastKernels) and kernels.factors_of(step[-1][0].params[0].tensor) is not None)


def _run_rectified(
    step: list[Pair], z: torch.Tensor, context: Context, units: torch.Tensor | None = None
) -> torch.Tensor:
    weight, *bias = (p.tensor for p in step[-1][0].params)
    masks = _masks(step[-2], (len(z), weight.shape[1]), context)
    if masks is not None:
        masks = (masks if units is None else masks.index_select(1, units)).to(z.device)
    return linear_rectified(z, masks, weight, bias[0] if bias else None, units)


def _masks(pair: Pair, shape: tuple[int, ...], context: Context) -> torch.Tensor | None:
    """The masks of a pair of dropout layers for both halves of x; None outside training and for other layers."""
    a, b = pair[0].layer, pair[1].layer
    if not (isinstance(a, Dropout) and isinstance(b, Dropout) and context.train):
        return None
    return a.twin_masks(b, shape, context)
