"""Caffemodel and solverstate files in HDF5 (``snapshot_format: HDF5``), laid out as Caffe lays them out.

A caffemodel has a group ``/data/LAYER`` for each layer, also for the split layers that Caffe inserts.  The group has a
dataset ``0``, ``1``, ... for each array that the layer does not share from another.  With ``snapshot_diff`` a group
``/diff/LAYER`` has the last update of each array.  A solverstate has ``iter``, ``learned_net``, ``current_step`` and
``history/0``, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.schema.blobs import Array
from siamplex.schema.hdf5_files import Hdf5Error, Hdf5Group, add_array, add_integer, add_text, opened, write

_MOST = 1000  # arrays of a layer, far above any


class OwnArrays(list[Array]):
    """A layer's arrays in a file that leaves out shared ones: empty in between, missing at the end."""

    def lacks(self, index: int) -> bool:
        """Whether the array of an index is left out."""
        return index >= len(self) or not self[index].size


@dataclass
class StoredLayer:
    """What a file holds of a layer: its arrays and their last updates by index."""

    name: str
    arrays: Mapping[int, Array] = field(default_factory=dict)
    diffs: Mapping[int, Array] = field(default_factory=dict)


def read_layers(path: Path) -> dict[str, list[Array]]:
    """Arrays of each layer, by layer name, as :func:`~siamplex.schema.weights.read_caffemodel`.  Raises InputError."""
    layers: dict[str, list[Array]] = {}
    with opened(path, "caffemodel") as root:
        data = root.group("data")
        for name in data.names():
            arrays = _read_layer(data.group(name), name)
            if arrays:
                layers[name] = arrays
    return layers


def read_names(path: Path) -> list[str]:
    """Names of all layers of a caffemodel, in byte order.  Raises InputError."""
    with opened(path, "caffemodel") as root:
        return root.group("data").names()


def _read_layer(group: Hdf5Group, layer: str) -> OwnArrays:
    numbers = {}
    for name in group.names():
        if not name.isdecimal() or str(int(name)) != name or int(name) >= _MOST:
            raise Hdf5Error(f"'{name}' in layer '{layer}', which is no array's number")
        numbers[int(name)] = name
    nothing = np.empty(0, np.float32)
    return OwnArrays(group.array(numbers[i]) if i in numbers else nothing for i in range(max(numbers, default=-1) + 1))


def write_layers(path: Path, layers: Iterable[StoredLayer], diffs: bool) -> tuple[int, str]:
    """Write a caffemodel, with a group of ``diffs`` or without; its size and SHA-256.  Raises StorageError."""

    def fill(file: Any) -> None:
        data = file.create_group("data")
        diff = file.create_group("diff") if diffs else None
        for layer in layers:
            group = data.create_group(layer.name)
            for index, array in layer.arrays.items():
                add_array(group, str(index), array)
            if diff is not None:
                group = diff.create_group(layer.name)
                for index, array in layer.diffs.items():
                    add_array(group, str(index), array)

    return write(path, fill)


def read_state(path: Path) -> tuple[int, str, list[Array], int]:
    """Iteration, caffemodel, history and step of a solverstate.  Raises InputError."""
    with opened(path, "solverstate") as root:
        iteration, step = root.integer("iter"), root.integer("current_step")
        if not 0 <= iteration < 2**31 or not 0 <= step < 2**31:
            raise Hdf5Error(f"iteration {iteration}, step {step}")
        learned = root.text("learned_net") if "learned_net" in root.names() else ""
        group = root.group("history")
        return iteration, learned, [group.array(str(i)) for i in range(len(group.names()))], step


def write_state(
    path: Path, iteration: int, learned_net: str, history: Iterable[Array], current_step: int
) -> tuple[int, str]:
    """Write a solverstate Caffe can resume from; its size and SHA-256.  Raises StorageError."""

    def fill(file: Any) -> None:
        add_integer(file, "iter", iteration)
        add_text(file, "learned_net", learned_net)
        add_integer(file, "current_step", current_step)
        group = file.create_group("history")
        for index, array in enumerate(history):
            add_array(group, str(index), array)

    return write(path, fill)
