"""init.caffemodel: the weights of iteration 0, for either engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamplex.engine.net.arrays import assign
from siamplex.engine.net.net import Net
from siamplex.engine.net.net_kinds import check_deploy
from siamplex.errors import InputError
from siamplex.run.durable import write_text
from siamplex.run.output_names import ending, without
from siamplex.schema import prototxt
from siamplex.schema.blobs import Array
from siamplex.schema.weights import write_caffemodel
from siamplex.weights import alexnet, substitute

CONVOLUTIONS = ("conv1", "conv2", "conv3")


@dataclass(frozen=True)
class Initial:
    """What was written: the file, its SHA-256, and what to say of it."""

    path: Path
    sha256: str
    note: str


def write_initial(
    deploy: Path, path: Path, alexnet_file: Path | None, seed: int, accept_other: bool = False
) -> Initial:
    """Write the starting weights of the tower in ``deploy``.

    conv1-3 are those of ``alexnet_file`` (AlexNet's by content, others only with ``accept_other``), or the
    substitute; conv2 given ungrouped takes AlexNet's grouped kernels as a block-diagonal, which computes
    the same.  The other layers are filled as the prototxt says.  A JSON of the same stem holds the note
    and what was recognised.  Raises InputError.
    """
    source = prototxt.read(deploy, "NetParameter")
    check_deploy(source)
    net = Net(source, "TEST", seed=seed)
    given = alexnet.load(alexnet_file, accept_other) if alexnet_file else None
    note = given.note if given else substitute.NOTE
    for node in net.nodes:
        if node.name not in CONVOLUTIONS:
            continue
        shape = tuple(node.params[0].tensor.shape)
        weights, biases = given.arrays[node.name] if given else substitute.convolution(node.name, shape)
        if given and weights.shape != shape:
            weights = ungroup(weights, shape)
        if weights.shape != shape:
            raise InputError(deploy, f"{node.name} of AlexNet's shape {weights.shape}", f"{shape}")
        assign(node.params[0].tensor, weights)
        if len(node.params) > 1:
            assign(node.params[1].tensor, biases)
    written = write_caffemodel(path, "siamplex_init", net.owned())
    facts = {
        "note": note, "seed": seed, "sha256": written.sha256,
        "conv1-3": given.facts if given else {"kind": "substitute"},
    }  # fmt: skip
    write_text(ending(without(path, ".caffemodel"), ".json"), json.dumps(facts, indent=1) + "\n")
    return Initial(path, written.sha256, note)


def ungroup(weights: Array, shape: tuple[int, ...]) -> Array:
    """Kernels of a grouped convolution as those of an ungrouped one: zero between groups."""
    outputs, per_group = weights.shape[:2]
    groups, rest = divmod(shape[1], per_group)
    if rest or groups < 1 or outputs % groups or shape[0] != outputs or shape[2:] != weights.shape[2:]:
        return weights
    full = np.zeros(shape, np.float32)
    step = outputs // groups
    for g in range(groups):
        rows, columns = slice(g * step, (g + 1) * step), slice(g * per_group, (g + 1) * per_group)
        full[rows, columns] = weights[rows]
    return full
