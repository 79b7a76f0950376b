"""Setting layers up again where the pictures of a source change size.

Caffe reshapes a layer before each of its passes, so a net whose source takes pictures as they are (ImageData without a
crop and without new_height, Data with samples of several sizes) runs at the size of each batch.  Here the layers behind
such a source are looked at before each pass, and set up again where the shape of a bottom has changed.  Parameters keep
their arrays; a layer that would need others is refused, as in Caffe.

The stand-ins of a plan stay: they replace layers that depend on Data layers alone whose samples have one size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.feeding import FeedingLayer
from siamplex.engine.net.layer import BlobSpec, Layer, Shape
from siamplex.engine.net.limits import Budget
from siamplex.engine.net.node import Node, set_up
from siamplex.errors import PrototxtError

Top = tuple[Node, int]  # a node, index of its top


class Reshaping:
    """Keeps a net set up for the size of its batches, where it has a source whose samples may change size.

    ``shapes``, those of the net's blobs by name, follow the last pass; blobs count against the net's ``budget``.
    """

    @classmethod
    def of(cls, nodes: Sequence[Node], shapes: dict[str, Shape], budget: Budget) -> Reshaping | None:
        """That of a net; None where the samples of every source have one size."""
        vary = any(isinstance(node.layer, FeedingLayer) and node.layer.sizes_vary for node in nodes)
        return cls(nodes, shapes, budget) if vary else None

    def __init__(self, nodes: Sequence[Node], shapes: dict[str, Shape], budget: Budget) -> None:
        self._shapes, self._budget = shapes, budget
        self._sources: dict[str, list[FeedingLayer]] = {}  # by node: those that it depends on, itself included
        self._reads: dict[str, list[Top]] = {}  # by node behind a source
        self._given: set[str] = set()  # sources that did not run in this pass
        writers: dict[str, Top] = {}
        for node in nodes:
            reads = [writers[name] for name in node.bottoms]
            found = [source for writer, _ in reads for source in self._sources.get(writer.name, ())]
            if found:
                self._reads[node.name] = reads
            elif isinstance(node.layer, FeedingLayer) and node.layer.sizes_vary:
                found = [node.layer]
            if found:
                self._sources[node.name] = list({id(source): source for source in found}.values())
            writers.update({name: (node, index) for index, name in enumerate(node.tops)})

    def fit(self, node: Node) -> None:
        """Set a node up for the bottoms of this pass, before it runs.

        Raises PrototxtError where it does not take them, naming the batch.
        """
        reads = self._reads.get(node.name)
        if reads is None:
            return
        bottoms = [writer.top_shapes[index] for writer, index in reads]
        if bottoms != node.bottom_shapes:
            self._set_up(node, bottoms)

    def came_out(self, node: Node, tops: Sequence[torch.Tensor], given: bool = False) -> None:
        """Note the tops of a source after it ran, or of a node whose tops are ``given`` in its place.

        Raises PrototxtError where they take too much memory.
        """
        if node.name not in self._sources or (node.name in self._reads and not given):
            return
        (self._given.add if given else self._given.discard)(node.name)
        shapes = [tuple(top.shape) for top in tops]
        if shapes != node.top_shapes:
            node.bottom_shapes = []  # set up again when it runs
            try:
                self._place(node, shapes)
            except PrototxtError as error:
                raise self._with_place(error, node) from None

    def _set_up(self, node: Node, bottoms: list[Shape]) -> None:
        layer, arrays = node.layer, node.layer.blobs
        node.bottom_shapes, layer.blobs = [], []  # what stops halfway is set up again in the next pass
        try:
            tops = set_up(layer, bottoms)
            _check_arrays(layer, arrays, bottoms)
            self._place(node, tops)
        except PrototxtError as error:
            raise self._with_place(error, node) from None
        finally:
            layer.blobs = arrays
        node.bottom_shapes = bottoms

    def _place(self, node: Node, shapes: Sequence[Shape]) -> None:
        """Take the new shapes of a node's tops.  Raises PrototxtError where they exceed the budget."""
        for index, (name, shape) in enumerate(zip(node.tops, shapes, strict=True)):
            named = name in self._shapes  # a loss may have a top without a name
            if named and not (index < len(node.bottoms) and node.bottoms[index] == name):
                refused = self._budget.exchange(node.top_shapes[index], shape)
                if refused:
                    raise node.layer.spec.error(f"top '{name}': {refused}", "top", index)
            node.top_shapes[index] = shape
            if named:
                self._shapes[name] = shape

    def _with_place(self, error: PrototxtError, node: Node) -> PrototxtError:
        """The error with the batch that led to it."""
        ran = [source for source in self._sources[node.name] if source.spec.key not in self._given]
        places = " and ".join(source.place for source in ran) or "given values"
        return PrototxtError(error.path, error.line, f"{error.what}; the batch begins with {places}")


def _check_arrays(layer: Layer, arrays: Sequence[BlobSpec], bottoms: Sequence[Shape]) -> None:
    """Refuse a layer that needs other arrays for its new bottoms than those it has."""
    there, needed = [blob.shape for blob in arrays], [blob.shape for blob in layer.blobs]
    if there == needed:
        return
    what = f"has {len(there)} blobs, {len(needed)}"
    for index, (has, needs) in enumerate(zip(there, needed, strict=False)):
        if has != needs:
            what = f"blob {index} has shape {has}, {needs}"
            break
    raise layer.spec.error(f"{what} would go with bottoms of shapes {', '.join(map(str, bottoms))}", "bottom", 0)
