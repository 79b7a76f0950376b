"""The Split layers that Caffe inserts where several layers read one blob: their names, tops and places.

The engine does not need them, since any number of layers can read its blobs.  But Caffe's log and HDF5 files name
them, so they are reproduced here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from siamplex.schema import messages

Place = tuple[int, int]  # number of a layer, of a top in it


@dataclass(frozen=True)
class Placed:
    """A layer as Caffe runs it; ``origin`` is the number of this layer, or of the layer whose top it splits."""

    message: Any
    origin: int
    is_split: bool = False


def insert_splits(layers: Sequence[Any]) -> list[Placed]:
    """LayerParameters in order, with a ``Split`` after each top with several readers; a loss weight is a reader."""
    writer: dict[str, Place] = {}
    reads: dict[Place, int] = Counter()
    source: dict[Place, Place] = {}  # of a bottom
    weights: dict[Place, float] = {}
    for number, layer in enumerate(layers):
        for index, name in enumerate(layer.bottom):
            source[number, index] = writer[name]
            reads[writer[name]] += 1
        for index, name in enumerate(layer.top):
            writer[name] = number, index
        for index, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            weights[number, index] = weight
            reads[number, index] += weight != 0
    taken: dict[Place, int] = Counter()
    placed = []
    for number, given in enumerate(layers):
        layer = messages.LayerParameter()
        layer.CopyFrom(given)
        for index in range(len(layer.bottom)):
            place = source[number, index]
            if reads[place] > 1:
                layer.bottom[index] = f"{_name(layers, place)}_{taken[place]}"
                taken[place] += 1
        placed.append(Placed(layer, number))
        for index, top in enumerate(given.top):
            place = number, index
            count, weight = reads[place], weights.get(place, 0.0)
            if count <= 1:
                continue
            split = messages.LayerParameter(name=_name(layers, place), type="Split", bottom=[top])
            split.top.extend(f"{split.name}_{k}" for k in range(count))
            if weight:
                layer.ClearField("loss_weight")
                taken[place] += 1
                split.loss_weight.extend([weight] + [0.0] * (count - 1))
            placed.append(Placed(split, number, True))
    return placed


def _name(layers: Sequence[Any], place: Place) -> str:
    number, index = place
    return f"{layers[number].top[index]}_{layers[number].name}_{index}_split"
