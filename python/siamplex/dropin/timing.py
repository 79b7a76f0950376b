"""``caffe time``: how long each layer takes, forward and backward."""

from __future__ import annotations

import time
from collections import defaultdict

import torch

from siamplex.dropin.devices import device_of
from siamplex.dropin.flags import Flags
from siamplex.dropin.glog import info, number
from siamplex.dropin.nets import build
from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node


def run(flags: Flags) -> None:
    """Time a model layer by layer.  Raises UsageError and all that a Net raises."""
    flags.needed("model", "a model definition to time")
    device = device_of(flags)
    net = build(flags, flags["phase"] or "TRAIN", device)
    net.learn()
    passes = max(flags.number("iterations"), 1)
    info("*** Benchmark begins ***")
    info(f"Testing for {passes} iterations.")
    forward: dict[str, float] = defaultdict(float)
    backward: dict[str, float] = defaultdict(float)
    once(net, Context(net.phase == "TRAIN"), defaultdict(float), defaultdict(float))  # warm
    start = time.perf_counter()
    for iteration in range(passes):
        before = sum(forward.values()) + sum(backward.values())
        once(net, Context(net.phase == "TRAIN", iteration=iteration), forward, backward)
        spent = sum(forward.values()) + sum(backward.values()) - before
        info(f"Iteration: {iteration + 1} forward-backward time: {number(spent * 1e3)} ms.")
    total = time.perf_counter() - start
    info("Average time per layer: ")
    for node in net.nodes:
        for way, spent_by in (("forward", forward), ("backward", backward)):
            info(f"{node.name:>10}\t{way}: {number(spent_by[node.name] / passes * 1e3)} ms.")
    ways = (sum(forward.values()) / passes * 1e3, sum(backward.values()) / passes * 1e3)
    info(f"Average Forward pass: {number(ways[0])} ms.")
    info(f"Average Backward pass: {number(ways[1])} ms.")
    info(f"Average Forward-Backward: {number(sum(ways))} ms.")
    info(f"Total Time: {number(total * 1e3)} ms.")
    info("*** Benchmark ends ***")


def once(net: Net, context: Context, forward: dict[str, float], backward: dict[str, float]) -> None:
    """One pass; adds each layer's seconds.  A layer's backward runs by itself, on gradients of ones."""
    needing: set[str] = set()  # blobs behind what learns: as in Caffe, no other blob has a gradient
    blobs: dict[str, torch.Tensor] = {name: torch.zeros(net.shapes[name], device=net.device) for name in net.inputs}
    for node in net.nodes:
        if node.layer.spec.type == "Input":
            continue
        bottoms = [blobs[name].detach() for name in node.bottoms]
        for name, bottom, passes in zip(node.bottoms, bottoms, node.propagate, strict=True):
            bottom.requires_grad_(passes and name in needing)
        start = _now(net)
        if net.reshaping:
            net.reshaping.fit(node)
        tops = node.layer.forward(bottoms, node.tensors(), context)
        middle = _now(net)
        if net.reshaping:
            net.reshaping.came_out(node, tops)
        _backward(node, bottoms, tops)
        forward[node.name] += middle - start
        backward[node.name] += _now(net) - middle
        learns = any(x.requires_grad for x in (*bottoms, *node.tensors()))
        (needing.update if learns else needing.difference_update)(node.tops)
        blobs.update({name: top.detach().to(net.device) for name, top in zip(node.tops, tops, strict=True)})


def _backward(node: Node, bottoms: list[torch.Tensor], tops: list[torch.Tensor]) -> None:
    results = [top for top in tops if top.requires_grad]
    sources = [x for x in (*bottoms, *node.tensors()) if x.requires_grad]
    if results and sources:
        torch.autograd.grad(results, sources, [torch.ones_like(r) for r in results], allow_unused=True)


def _now(net: Net) -> float:
    if net.device.type == "cuda":
        torch.cuda.synchronize(net.device)
    return time.perf_counter()
