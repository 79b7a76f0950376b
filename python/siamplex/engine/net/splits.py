"""The Split layers that Caffe inserts where several layers read one blob: their names, tops and places.

The engine does not need them, since any number of layers can read its blobs.  But Caffe's log and HDF5 files name
them, so they are reproduced here; and a layer that reads a copy cannot work in place on it.
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


class _Reads:
    """Which top each bottom reads (``source``), how often each top is read (``count``), and the tops' loss ``weights``.

    A loss weight counts as a reader.  Bottoms that no layer makes are passed over.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        writer: dict[str, Place] = {}
        self.count: Counter[Place] = Counter()
        self.source: dict[Place, Place] = {}
        self.weights: dict[Place, float] = {}
        for number, layer in enumerate(layers):
            for index, name in enumerate(layer.bottom):
                if name in writer:
                    self.source[number, index] = writer[name]
                    self.count[writer[name]] += 1
            for index, name in enumerate(layer.top):
                writer[name] = number, index
            for index, weight in enumerate(layer.loss_weight[: len(layer.top)]):
                self.weights[number, index] = weight
                self.count[number, index] += weight != 0


def copied_bottoms(layers: Sequence[Any]) -> set[Place]:
    """The bottoms, by number of layer and of bottom, that read a copy of a Split, since their top has other readers."""
    reads = _Reads(layers)
    return {bottom for bottom, top in reads.source.items() if reads.count[top] > 1}


def insert_splits(layers: Sequence[Any]) -> list[Placed]:
    """LayerParameters in order, with a ``Split`` after each top with several readers; a loss weight is a reader."""
    reads = _Reads(layers)
    taken: dict[Place, int] = Counter()
    placed = []
    for number, given in enumerate(layers):
        layer = messages.LayerParameter()
        layer.CopyFrom(given)
        for index in range(len(layer.bottom)):
            place = reads.source[number, index]
            if reads.count[place] > 1:
                layer.bottom[index] = f"{_name(layers, place)}_{taken[place]}"
                taken[place] += 1
        placed.append(Placed(layer, number))
        for index, top in enumerate(given.top):
            place = number, index
            count, weight = reads.count[place], reads.weights.get(place, 0.0)
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
