"""A net's outputs: of one forward pass, or their means over the passes of a test."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile

import torch

from siamplex.engine.net.kernels import Kernels
from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.engine.training.watcher import Output


def loss_weights(net: Net) -> dict[str, float]:
    """The loss weight of each top that has one."""
    pairs = (pair for node in net.nodes for pair in zip(node.tops, node.loss_weights, strict=True))
    return {top: weight for top, weight in pairs if weight}


def values_of(name: str, found: Mapping[str, float]) -> list[float]:
    """The values of an output among those of :meth:`Solver.test`."""
    if name in found:
        return [found[name]]
    return [found[key] for key in takewhile(found.__contains__, (f"{name}[{i}]" for i in count()))]


def outputs_of(net: Net, blobs: Mapping[str, torch.Tensor]) -> list[Output]:
    """A net's outputs after a forward pass."""
    weights = loss_weights(net)
    return [
        Output(name, blobs[name].detach().reshape(-1).tolist(), weights.get(name, 0.0))
        for name in net.outputs
        if name in blobs
    ]


def check_size(net: Net, output: str, size: int, sizes: dict[str, int]) -> None:
    """Refuse an output whose number of values changes from batch to batch: it has no means.

    ``sizes`` are those of earlier batches, by output.  Raises PrototxtError.
    """
    before = sizes.setdefault(output, size)
    if size != before:
        writer = next(node for node in reversed(net.nodes) if output in node.tops)
        what = f"output '{output}' has {before} values in one batch and {size} in another, so no means over batches"
        raise writer.layer.spec.error(what, "top", writer.tops.index(output))


@torch.no_grad()
def mean_outputs(
    net: Net, passes: int, seed: int, iteration: int, kernels: Kernels | None = None, with_loss: bool = False
) -> dict[str, float]:
    """Mean of each output of a test net over ``passes`` batches, ``name[i]`` for those of several values.

    ``with_loss`` adds ``(loss)``, the net's weighted loss, as the solver's test_compute_loss asks for.  Raises
    PrototxtError for an output whose number of values changes.
    """
    sums: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for sub_pass in range(passes):
        loss, blobs = net.forward(Context(False, seed, iteration, sub_pass, kernels))
        for output in net.outputs:
            flat = blobs[output].reshape(-1).tolist()
            check_size(net, output, len(flat), sizes)
            for i, value in enumerate(flat):
                key = output if len(flat) == 1 else f"{output}[{i}]"
                sums[key] = sums.get(key, 0.0) + value
        if with_loss:
            sums["(loss)"] = sums.get("(loss)", 0.0) + float(loss)
    return {key: total / passes for key, total in sums.items()}
