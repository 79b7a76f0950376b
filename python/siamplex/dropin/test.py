"""``caffe test``: a net's outputs, averaged over some batches."""

from __future__ import annotations

from pathlib import Path

from siamplex.dropin.devices import device_of
from siamplex.dropin.flags import UNFILLED, Flags
from siamplex.dropin.glog import info, number
from siamplex.dropin.nets import build


def run(flags: Flags) -> None:
    """Score a model.  Raises UsageError and all that a Net raises."""
    import torch

    from siamplex.engine.net.layer import Context
    from siamplex.engine.training.filling import lean_hint
    from siamplex.engine.training.outputs import check_size, loss_weights, outputs_of
    from siamplex.schema.weights import read_caffemodel

    flags.needed("model", "a model definition to score")
    weights = [Path(w) for w in flags.needed("weights", "model weights to score").split(",") if w]
    net = build(flags, flags["phase"] or "TEST", device_of(flags), feeds_itself=True)
    for path in weights:
        net.load(read_caffemodel(path), path)
    found = net.unfilled(learning=False)
    if found and not flags.allow_unfilled:
        raise net.refuse_unfilled(found, weights, f"-{UNFILLED}", lean_hint(weights))
    passes = flags.number("iterations")
    info(f"Running for {passes} iterations.")
    sums: dict[tuple[str, int], float] = {}
    sizes: dict[str, int] = {}
    total = 0.0
    for batch in range(passes):
        with torch.no_grad():
            loss, blobs = net.forward(Context(False, iteration=batch))
        total += float(loss)
        for output in outputs_of(net, blobs):
            check_size(net, output.name, len(output.values), sizes)
            for index, value in enumerate(output.values):
                sums[(output.name, index)] = sums.get((output.name, index), 0.0) + value
                info(f"Batch {batch}, {output.name} = {number(value)}")
    if not passes:
        return
    info(f"Loss: {number(total / passes)}")
    by_top = loss_weights(net)
    for (name, _), value in sums.items():
        mean, weight = value / passes, by_top.get(name, 0.0)
        info(f"{name} = {number(mean)}" + (f" (* {number(weight)} = {number(weight * mean)} loss)" if weight else ""))
