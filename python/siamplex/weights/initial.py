"""init.caffemodel: the weights of iteration 0, for either engine."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.engine.net.arrays import assign
from siamplex.engine.net.net import Net
from siamplex.engine.net.net_kinds import check_deploy
from siamplex.errors import InputError
from siamplex.run.durable import write_text
from siamplex.run.output_names import ending, without
from siamplex.schema import prototxt
from siamplex.schema.blobs import Array
from siamplex.schema.prototxt import Prototxt
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
    """Write the starting weights of the tower in ``deploy``: those of :func:`initial_net`.

    A JSON of the same stem holds the note and what was recognised.  Raises InputError.
    """
    net, facts = initial_net(prototxt.read(deploy, "NetParameter"), alexnet_file, seed, accept_other)
    written = write_caffemodel(path, "siamplex_init", net.owned())
    told = {"note": facts["note"], "seed": seed, "sha256": written.sha256, "conv1-3": facts["conv1-3"]}
    write_text(ending(without(path, ".caffemodel"), ".json"), json.dumps(told, indent=1) + "\n")
    return Initial(path, written.sha256, str(facts["note"]))


def initial_net(
    source: Prototxt,
    alexnet_file: Path | None,
    seed: int,
    accept_other: bool = False,
    hollow: Collection[tuple[str, int]] = (),
) -> tuple[Net, dict[str, Any]]:
    """The tower of a deploy net with its starting weights, and what is known of them: ``note`` and ``conv1-3``.

    conv1-3 are those of ``alexnet_file`` (AlexNet's by content, others only with ``accept_other``), or the
    substitute; conv2 given ungrouped takes AlexNet's grouped kernels as a block-diagonal, which computes
    the same.  The other layers are filled as the prototxt says, but for ``hollow`` ones
    (:class:`~siamplex.engine.net.net.Net`).  Raises InputError.
    """
    check_deploy(source)
    net = Net(source, "TEST", seed=seed, hollow=hollow)
    given = alexnet.load(alexnet_file, accept_other) if alexnet_file else None
    for node in net.nodes:
        if node.name not in CONVOLUTIONS:
            continue
        shape = tuple(node.params[0].tensor.shape)
        weights, biases = given.arrays[node.name] if given else substitute.convolution(node.name, shape)
        if given and weights.shape != shape:
            weights = ungroup(weights, shape)
        if weights.shape != shape:
            raise InputError(source.path, f"{node.name} of AlexNet's shape {weights.shape}", f"{shape}")
        assign(node.params[0].tensor, weights)
        if len(node.params) > 1:
            assign(node.params[1].tensor, biases)
    facts = {
        "note": given.note if given else substitute.NOTE, "conv1-3": given.facts if given else {"kind": "substitute"}
    }  # fmt: skip
    return net, facts


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
