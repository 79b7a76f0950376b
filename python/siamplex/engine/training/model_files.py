"""Writing a net's caffemodel, in binaryproto or HDF5, with the last update of each array where asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from siamplex.engine.net.arrays import values
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node, Parameter
from siamplex.engine.net.splits import insert_splits
from siamplex.schema.blobs import Array
from siamplex.schema.hdf5_weights import StoredLayer
from siamplex.schema.weights import Written, write_caffemodel, write_caffemodel_hdf5

Updates = Callable[[Parameter], Array]


def write_model(
    path: Path, net: Net, left_out: Collection[str] = (), updates: Updates | None = None, hdf5: bool = False
) -> Written:
    """Write a net's caffemodel without the arrays of layers ``left_out``; ``updates`` gives the diffs, if wanted.

    Raises StorageError.
    """
    if hdf5:
        return write_caffemodel_hdf5(path, _stored(net, left_out, updates), updates is not None)
    layers = [(head, arrays) for head, arrays in net.owned() if head.name not in left_out]
    if updates is None:
        return write_caffemodel(path, net.name, layers)
    nodes = (node for node in net.nodes if node.owns and node.layer.spec.name not in left_out)
    return write_caffemodel(path, net.name, layers, [_diffs(node, updates) for node in nodes])


def _diffs(node: Node, updates: Updates) -> list[Array]:
    """The last update of each of a node's arrays (Caffe's diff), in the shape that the node uses."""
    return [updates(p).reshape(tuple(t.shape)) for p, t in zip(node.params, node.tensors(), strict=True)]


def _stored(net: Net, left_out: Collection[str], updates: Updates | None) -> Iterator[StoredLayer]:
    """All layers of Caffe's net: a shared array is stored with its owner alone, its update with every layer."""
    for placed in insert_splits([node.layer.spec.message for node in net.nodes]):
        node, name = net.nodes[placed.origin], str(placed.message.name)
        if placed.is_split or name in left_out:
            yield StoredLayer(name)
            continue
        arrays = {i: values(t) for i, t in enumerate(node.tensors()) if node.params[i].is_of(node.name, i)}
        yield StoredLayer(name, arrays, dict(enumerate(_diffs(node, updates))) if updates else {})


def check_names(net: Net) -> None:
    """Refuse layers whose names cannot be HDF5 group names; Caffe would stop at its first snapshot.

    Raises PrototxtError.
    """
    seen: set[str] = set()
    for placed in insert_splits([node.layer.spec.message for node in net.nodes]):
        spec, name = net.nodes[placed.origin].layer.spec, str(placed.message.name)
        fault = (
            "has no name" if not name
            else f"'{name}' has a '/' in its name" if "/" in name
            else f"'{name}' is no name of a group" if name == "."
            else f"'{name}' is the name of two" if name in seen
            else ""
        )  # fmt: skip
        seen.add(name)
        if fault:
            made = "the split that Caffe puts behind it " if placed.is_split else "it "
            why = "snapshot_format HDF5 has a group for each layer, and "
            raise spec.error(f"{why}{made}{fault} (BINARYPROTO takes it)", "name", 0)
