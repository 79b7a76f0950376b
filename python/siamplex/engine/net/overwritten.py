"""Caffe's gradients where a later in-place layer overwrites an array that a backward pass reads.

Caffe has one array for a blob, its readers and all layers that work on it in place.  The backward pass of some layers
reads their bottom or top: MVN, Sigmoid and TanH read their tops, Convolution its bottom.  If a later layer works in
place, they read the overwritten values: with a ReLU in place behind an MVN, the rectified ones.  That is not the
gradient of what was computed, but it is the one with which Caffe trains.

In this engine every layer creates new tensors.  To get Caffe's numbers, a tensor that such a layer saved for its
backward pass is replaced, when read, by the last values of the array that Caffe would have there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch.autograd.graph import saved_tensors_hooks

if TYPE_CHECKING:
    from siamplex.engine.net.node import Node

# layers whose top is their bottom's array in Caffe, under another shape or name
_SAME_ARRAY = frozenset({"Flatten", "Reshape", "Split"})


class Arrays:
    """The arrays that Caffe would have for a net's blobs, numbered, and their values in the current forward pass."""

    def __init__(self) -> None:
        self._of_blob: dict[str, int] = {}
        self._count = 0
        self._bottoms: dict[str, list[int]] = {}  # by node
        self._tops: dict[str, list[int]] = {}
        self._writers: dict[int, list[Node]] = {}  # in place, by array
        self._watched: set[int] = set()
        self._latest: dict[int, torch.Tensor] = {}

    def add(self, node: Node) -> None:
        """Add the next node of the net."""
        bottoms = self._bottoms[node.name] = [self._of_blob[name] for name in node.bottoms]
        tops = self._tops[node.name] = []
        for index, name in enumerate(node.tops):
            if index < len(node.bottoms) and name == node.bottoms[index]:
                self._writers.setdefault(bottoms[index], []).append(node)
                tops.append(bottoms[index])
            elif bottoms and node.layer.spec.type in _SAME_ARRAY:
                tops.append(bottoms[0])
            else:
                tops.append(self._count)
                self._count += 1
            self._of_blob[name] = tops[-1]

    @property
    def marked(self) -> bool:
        """Whether the backward pass of any node reads an overwritten array."""
        return bool(self._watched)

    def mark(self, nodes: Sequence[Node]) -> None:
        """Find the nodes whose backward pass reads an overwritten array, and mark them."""
        place = {node.name: at for at, node in enumerate(nodes)}
        for node in nodes:
            found = {
                array
                for array, from_itself in self._read_by(node)
                for writer in self._writers.get(array, ())
                if (from_itself if writer is node else place[writer.name] > place[node.name])
                and (writer is node or writer.layer.spec.type not in node.layer.harmless_behind)
            }
            if found:
                node.overwritten = node.layer.overwritten = Overwritten(self, node, found)
                for parameter in node.params:
                    parameter.by_factors = False
                self._watched |= found

    def _read_by(self, node: Node) -> Iterator[tuple[int, bool]]:
        """Arrays that a node's backward pass reads, and whether the node itself overwrites them in place."""
        layer = node.layer
        if "top" in layer.backward_reads:
            yield from ((array, False) for array in self._tops[node.name])
        if "bottom" in layer.backward_reads:
            for array in self._bottoms[node.name]:
                if not (layer.own_bottom == "copied" and array in self._tops[node.name]):
                    yield array, layer.own_bottom == "lost"

    def begin(self) -> None:
        """Begin a forward pass with a new dictionary; tensors saved by earlier passes keep theirs."""
        self._latest = {}

    def wrote(self, node: Node, name: str, values: torch.Tensor) -> None:
        """Record the values of a top that a node wrote."""
        if self._watched:
            array = self._tops[node.name][node.tops.index(name)]
            if array in self._watched:
                self._latest[array] = values.detach()

    def latest(self) -> dict[int, torch.Tensor]:
        """The arrays' last values, by number; the forward pass keeps updating this dictionary."""
        return self._latest


class Overwritten:
    """A context manager for a node's forward pass: tensors saved there are replaced by their array's last values."""

    def __init__(self, arrays: Arrays, node: Node, found: set[int]) -> None:
        self._arrays, self._found = arrays, found
        self._bottoms, self._tops = arrays._bottoms[node.name], arrays._tops[node.name]
        self._of_tensor: dict[tuple[int, int], int] = {}
        self._hooks: saved_tensors_hooks | None = None

    def watch(self, tensors: Iterable[torch.Tensor], of: str) -> None:
        """Declare which tensors are the node's ``"bottom"`` or ``"top"`` in this pass."""
        for tensor, array in zip(tensors, self._bottoms if of == "bottom" else self._tops, strict=False):
            if array in self._found:
                self._of_tensor[(tensor.data_ptr(), tensor.numel())] = array

    def last_top(self, index: int) -> torch.Tensor | None:
        """The last values of the array of the node's top in this pass; None where it is not overwritten."""
        return self._arrays.latest().get(self._tops[index])

    def __enter__(self) -> Overwritten:
        latest = self._arrays.latest()
        found = self._of_tensor = {}

        def unpack(kept: torch.Tensor) -> torch.Tensor:
            array = found.get((kept.data_ptr(), kept.numel()))
            return kept if array is None or array not in latest else latest[array].reshape(kept.shape).to(kept.dtype)

        self._hooks = saved_tensors_hooks(lambda tensor: tensor.detach(), unpack)
        self._hooks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._hooks is not None
        self._hooks.__exit__(None, None, None)
        self._hooks = None
