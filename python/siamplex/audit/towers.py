"""The twin towers of a train_val net, read from its prototxt: the layers behind each bottom of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from siamplex.engine.net.phase import included, net_state
from siamplex.schema.prototxt import Prototxt

_INPUT_TYPES = ("Data", "Slice", "Embed", "Reshape")


@dataclass(frozen=True)
class Twins:
    """The TRAIN net: data layer, both towers (layers from conv1 to fc6), the loss, what the label passed through."""

    data: Any
    first: list[Any]
    second: list[Any]
    first_input: list[Any]
    second_input: list[Any]
    loss: Any
    label: list[Any]


def read_twins(net: Prototxt) -> Twins:
    """Follow the blobs of the TRAIN phase.  Raises PrototxtError where there are no twins to find."""
    state = net_state("TRAIN", net.message.state)
    chains: dict[str, list[Any]] = {}
    losses = []
    for layer in net.message.layer:
        if not included(layer, state):
            continue
        before = chains.get(layer.bottom[0], []) if layer.bottom else []
        if layer.type == "ContrastiveLoss":
            losses.append(layer)
        for top in layer.top:
            chains[top] = [*before, layer]
    if len(losses) != 1 or len(losses[0].bottom) != 3:
        raise net.error(f"expected one ContrastiveLoss of two embeddings and a label, found {len(losses)}")
    first, second, label = (chains.get(name, []) for name in losses[0].bottom)
    if not first or not second or first[0].type != "Data":
        raise net.error("expected both embeddings to come from a Data layer")
    (first_input, first_tower), (second_input, second_tower) = _part(first), _part(second)
    return Twins(first[0], first_tower, second_tower, first_input, second_input, losses[0], label)


def _part(chain: list[Any]) -> tuple[list[Any], list[Any]]:
    """Layers that bring the image in, and the tower behind them."""
    count = 0
    while count < len(chain) and chain[count].type in _INPUT_TYPES:
        count += 1
    return chain[:count], chain[count:]


def of_type(tower: list[Any], *types: str) -> list[Any]:
    """Layers of some types, in order."""
    return [layer for layer in tower if layer.type in types]
