"""Copying parameter values from weights files into a net, and out of it for a caffemodel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from siamplex.engine.net.node import Node
from siamplex.errors import InputError
from siamplex.schema import messages
from siamplex.schema.blobs import Array
from siamplex.schema.hdf5_weights import OwnArrays
from siamplex.schema.messages import enum_value
from siamplex.schema.weights import last_of


def load(nodes: Sequence[Node], weights: Mapping[str, Sequence[Array]], path: object, own: bool = False) -> list[str]:
    """Copy arrays into the layers of the same names; return the names of layers filled.

    Layers missing from the file keep their values, and layers missing from the net are ignored, as in
    Caffe.  A layer with another number or shape of arrays raises InputError naming ``path``.
    Where several layers have one name, Caffe fills the first with the last one's arrays.  With ``own``, a file that
    these nodes wrote, each layer gets the arrays that it wrote.
    """
    filled = []
    for node in nodes:
        spec = node.layer.spec
        arrays = weights.get(spec.key) if own else last_of(weights, spec.name) if not spec.twin else None
        if not arrays:
            continue
        if len(arrays) != len(node.params) and not _borrows_the_rest(node, arrays):
            raise InputError(
                str(path),
                f"{len(node.params)} arrays for layer '{node.name}'",
                f"{len(arrays)}",
            )
        for index, (tensor, parameter, array) in enumerate(zip(node.tensors(), node.params, arrays, strict=False)):
            if isinstance(arrays, OwnArrays) and arrays.lacks(index) and not parameter.is_of(node.name, index):
                continue  # the layer that owns it loads it
            shape = tuple(tensor.shape)
            if _core(array.shape) != _core(shape):
                raise InputError(
                    str(path),
                    f"shape {shape} for {node.name}[{parameter.index}]",
                    f"{tuple(array.shape)}",
                )
            assign(tensor, array)
        filled.append(node.name)
    return filled


def owned(nodes: Sequence[Node], phase: str) -> Iterable[tuple[Any, list[Array]]]:
    """(LayerParameter, arrays) of every layer that owns its arrays, for a caffemodel.

    A shared array is stored with its owner; Caffe loads it there, and the other layers share it.  A layer that owns
    some of its arrays and borrows others is stored with all of them.
    """
    for node in nodes:
        if node.owns:
            head = messages.LayerParameter()
            head.CopyFrom(node.layer.spec.message)
            head.phase = enum_value("Phase", phase)
            yield head, [values(tensor) for tensor in node.tensors()]


def _borrows_the_rest(node: Node, arrays: Sequence[Array]) -> bool:
    """Whether ``arrays``, from a file that stores each array with its owner, are all that the layer does not borrow."""
    if not isinstance(arrays, OwnArrays) or len(arrays) > len(node.params):
        return False
    return not any(p.is_of(node.name, i) for i, p in enumerate(node.params) if i >= len(arrays))


def _core(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without leading ones: old versions of Caffe wrote four axes for every array."""
    shape = list(shape)
    while shape and shape[0] == 1:
        shape.pop(0)
    return tuple(shape)


def assign(tensor: torch.Tensor, array: Array) -> None:
    """Copy an array (read-only ones too) into a tensor with the same number of values."""
    with torch.no_grad():
        if tensor.device.type == "cpu" and tensor.is_contiguous():
            np.copyto(tensor.detach().numpy(), array.reshape(tuple(tensor.shape)))
        else:
            tensor.copy_(torch.from_numpy(np.array(array)).reshape(tensor.shape))


def values(tensor: torch.Tensor) -> Array:
    """A tensor's values on the CPU (a view if the tensor is on the CPU)."""
    array: Array = tensor.detach().cpu().contiguous().numpy()
    return array
