"""Finding the two towers of a siamese net, and running one of them alone in the TEST phase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.layers.contrastive_loss import ContrastiveLoss
from siamplex.engine.layers.data import Data
from siamplex.engine.layers.dropout import Dropout
from siamplex.engine.layers.inner_product import InnerProduct
from siamplex.engine.layers.relu import ReLU
from siamplex.engine.layers.slice import Slice
from siamplex.engine.net.alike import same_function
from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node
from siamplex.engine.net.plan import Plan
from siamplex.engine.net.sample_numbers import SampleNumbers

_CHUNK = 16  # images that go through a whole tower at a time
_PAIRS, _BYTES = 1024, 512 << 20  # of stored pairs with pixels, up to which they are read

Part = tuple[int, int]


@dataclass(frozen=True)
class Towers:
    """The two towers between a Data layer and its ContrastiveLoss: their nodes in order, and their input channels."""

    data: Node
    loss: Node
    first: list[Node]
    parts: tuple[Part, Part]

    @property
    def layer(self) -> Data:
        """The Data layer."""
        assert isinstance(self.data.layer, Data)
        return self.data.layer

    @property
    def margin(self) -> float:
        """The loss's margin."""
        return float(self.loss.layer.params.margin)

    @property
    def legacy(self) -> bool:
        """Whether the loss of a dissimilar pair is max(margin - d^2, 0) (``legacy_version``)."""
        return bool(self.loss.layer.params.legacy_version)


def find_towers(net: Net) -> Towers | None:
    """The towers of a net with one ContrastiveLoss over the pairs of one Data layer; None for other nets.

    Both towers must compute the same function of an image in the TEST phase: only layers that treat each sample
    separately, and dropout, without random crops or mirroring.
    """
    losses = [node for node in net.nodes if isinstance(node.layer, ContrastiveLoss)]
    if len(losses) != 1:
        return None
    first, second = (_chain(net, losses[0], index) for index in (0, 1))
    label = _writer(net, losses[0].bottoms[2], net.nodes.index(losses[0]))
    if first is None or second is None or first[0] is not second[0] or label is not first[0]:
        return None
    (data, part, tower), (_, other, twin) = first, second
    layer = data.layer
    assert isinstance(layer, Data)
    transform = layer.transform
    alike = transform.part_signature(part) == transform.part_signature(other) and len(tower) == len(twin)
    if not alike or transform.is_random or not all(map(same_function, tower, twin)):
        return None
    return Towers(data, losses[0], tower, (part, other))


def _writer(net: Net, blob: str, before: int) -> Node | None:
    """The last node before position ``before`` that writes ``blob``."""
    return next((node for node in reversed(net.nodes[:before]) if blob in node.tops), None)


def _chain(net: Net, loss: Node, index: int) -> tuple[Node, Part, list[Node]] | None:
    """The Data layer, its channels and the nodes that lead to one bottom of the loss."""
    blob, at = loss.bottoms[index], net.nodes.index(loss)
    nodes: list[Node] = []
    while True:
        node = _writer(net, blob, at)
        if node is None:
            return None
        at = net.nodes.index(node)
        layer = node.layer
        if isinstance(layer, Data):
            whole = layer.uniform and blob == node.tops[0]
            return (node, (0, layer.source.shape[0]), nodes[::-1]) if whole else None
        if isinstance(layer, Slice):
            data = _writer(net, node.bottoms[0], at)
            if layer.axis != 1 or data is None or not isinstance(data.layer, Data) or not data.layer.uniform:
                return None
            number = node.tops.index(blob)
            low = sum(layer.sizes[:number])
            return data, (low, low + layer.sizes[number]), nodes[::-1]
        plain = not node.views and len(node.bottoms) == len(node.tops) == 1 and not any(node.loss_weights)
        if not plain or not (layer.per_sample or isinstance(layer, Dropout)):
            return None
        nodes.append(node)
        blob = node.bottoms[0]


@dataclass(frozen=True)
class StoredImages:
    """The distinct images of a Data layer's pairs.

    ``samples`` (N, C, H, W) as stored; ``first`` and ``second`` (P,) int64 number them for each pair, ``same`` (P,)
    bool is the label; ``all_pairs`` says whether these are all pairs of the store.
    """

    samples: npt.NDArray[Any]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    all_pairs: bool


def stored_images(towers: Towers) -> StoredImages:
    """Read the pairs of a Data layer: all pairs of an indexed store, else the first 1024.

    Call it before training begins, while the layer is not being read.  Raises InputError.
    """
    source = towers.layer.source
    whole = source.all()
    if whole is not None and all(high - low == 1 for low, high in towers.parts) and source.shape[1:] == (1, 1):
        indices = whole[0].reshape(-1, source.shape[0])[:, [low for low, _ in towers.parts]]  # (P, 2)
        samples, where = np.unique(indices, return_inverse=True)
        where = where.reshape(indices.shape).astype(np.int64)
        return StoredImages(samples.reshape(-1, 1, 1, 1), where[:, 0], where[:, 1], whole[1] != 0, True)
    limit = source.entries
    if source.shape[1:] != (1, 1):  # pixels
        limit = max(1, min(limit, _PAIRS, _BYTES // (int(np.prod(source.shape)) * source.dtype.itemsize)))
    numbers = SampleNumbers()
    pairs, same = np.empty((limit, 2), np.int64), np.empty(limit, bool)
    for at, (values, label) in enumerate(source.scan(limit)):
        pairs[at] = [numbers.number(values[low:high]) for low, high in towers.parts]
        same[at] = label != 0
    return StoredImages(np.stack(numbers.samples), pairs[:, 0], pairs[:, 1], same, limit == source.entries)


@dataclass(frozen=True)
class Look:
    """One tower's outputs for N images: points (N, D) float64, and the active units of each InnerProduct before a ReLU.

    Active units are (units,) bool: those above zero for any of the images.
    """

    points: npt.NDArray[np.float64]
    active: dict[str, npt.NDArray[np.bool_]]


class TowerPass:
    """One tower of a net in the TEST phase, run over stored images with the current weights.

    It reads features and outputs that the plan has kept instead of computing them again, and changes nothing.
    """

    def __init__(self, net: Net, towers: Towers, plan: Plan | None) -> None:
        self._net, self._towers = net, towers
        self._start = plan.tower(net, towers.first) if plan else None
        self._nodes = towers.first[self._start.nodes :] if self._start else towers.first

    def known(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which samples (N, C, H, W) can be run now, (N,) bool: with a plan, only those in its table."""
        return self._start.known(samples) if self._start else np.ones(len(samples), bool)

    @torch.no_grad()
    def look(self, samples: npt.NDArray[Any]) -> Look:
        """Points and active units of samples (N, C, H, W), as stored, all of them known; N at least 1."""
        points: list[npt.NDArray[np.float64]] = []
        active: dict[str, npt.NDArray[np.bool_]] = {}
        for x in self._outputs_of_first(samples):
            fully_connected = None
            for at, node in enumerate(self._nodes):
                x = self._run(node, x) if at else x
                if isinstance(node.layer, InnerProduct):
                    fully_connected = node.name
                elif not isinstance(node.layer, Dropout):
                    if fully_connected and isinstance(node.layer, ReLU) and not node.layer.params.negative_slope:
                        found = (x > 0).flatten(1).any(dim=0).cpu().numpy()
                        active[fully_connected] = found | active.get(fully_connected, np.zeros_like(found))
                    fully_connected = None
            points.append(x.flatten(1).double().cpu().numpy())
        return Look(np.concatenate(points), active)

    @torch.no_grad()
    def squared_length(self, samples: npt.NDArray[Any]) -> tuple[str, float] | None:
        """The first InnerProduct that learns, and the mean squared length of the rows it reads of known samples."""
        learning = (n for n in self._nodes if isinstance(n.layer, InnerProduct) and n.params[0].lr_mult)
        wanted = next(learning, None)
        if wanted is None:
            return None
        total = 0.0
        for x in self._inputs_of_first(samples):
            for node in self._nodes[: self._nodes.index(wanted)]:
                x = self._run(node, x)
            total += float(x.flatten(1).double().square().sum())
        return wanted.name, total / len(samples)

    def _inputs_of_first(self, samples: npt.NDArray[Any]) -> Iterator[torch.Tensor]:
        """The inputs of the first node, a chunk of images at a time."""
        if self._start:
            yield self._start.features(samples)
            return
        transform, part = self._towers.layer.transform, self._towers.parts[0]
        for at in range(0, len(samples), _CHUNK):
            chunk = np.ascontiguousarray(samples[at : at + _CHUNK])
            yield torch.from_numpy(transform.apply_part(chunk, part)).to(self._net.device)

    def _outputs_of_first(self, samples: npt.NDArray[Any]) -> Iterator[torch.Tensor]:
        """The outputs of the first node, a chunk of images at a time."""
        if self._start:
            yield self._start.outputs(samples, self._nodes[0])
            return
        for x in self._inputs_of_first(samples):
            yield self._run(self._nodes[0], x)

    def _run(self, node: Node, x: torch.Tensor) -> torch.Tensor:
        return node.layer.forward([x], node.tensors(), Context(train=False))[0]
