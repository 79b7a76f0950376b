"""The frozen prefix of a net: the layers between the data and the first layer that learns or is random.

The prefix's output for an image never changes, so it is computed once for each distinct image.
In Rao et al.'s stage 1 the frozen conv1-3 are most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from siamplex.engine.layers.data import Data
from siamplex.engine.layers.slice import Slice
from siamplex.engine.net.alike import function_settings
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node


@dataclass(frozen=True)
class Feature:
    """A blob as a function of a stored sample: the channels ``part`` of layer ``data``, run through ``chain``."""

    data: str
    part: tuple[int, int]
    chain: tuple[Node, ...] = ()


@dataclass
class Prefix:
    """The frozen prefix of a net.

    ``nodes`` are the names of nodes that need not run; ``entries`` the features that the rest of
    the net reads: (node name, bottom index) -> Feature.
    """

    nodes: set[str] = field(default_factory=set)
    entries: dict[tuple[str, int], Feature] = field(default_factory=dict)
    data: dict[str, Node] = field(default_factory=dict)


def find_prefix(net: Net, learning: bool = False) -> Prefix:
    """The frozen prefix of a net; empty where there is none worth keeping.

    A node belongs to it when each sample's result depends on that sample alone, nothing about it
    is random and none of its parameters learns.  With ``learning`` parameters may learn.
    """
    prefix = Prefix()
    held: dict[str, Feature] = {}
    for node in net.nodes:
        layer = node.layer
        if isinstance(layer, Data) and not layer.transform.is_random and layer.uniform:
            held[node.tops[0]] = Feature(node.name, (0, layer.source.shape[0]))
            prefix.data[node.name] = node
            continue
        features = [held.get(name) for name in node.bottoms]
        tops = _extend(node, features, learning)
        if tops is None:
            for index, feature in enumerate(features):
                if feature is not None:
                    prefix.entries[(node.name, index)] = feature
            for name in node.tops:
                held.pop(name, None)
        else:
            prefix.nodes.add(node.name)
            held.update(zip(node.tops, tops, strict=True))
    for output in net.outputs:
        if output in held:  # an output must be computed in every pass: leave the net as it is
            return Prefix()
    return prefix if all(map(_worth_keeping, prefix.entries.values())) else Prefix()


def _worth_keeping(feature: Feature) -> bool:
    """Whether a feature costs anything to compute: it has weights other than an Embed table."""
    return any(node.params and node.layer.spec.type != "Embed" for node in feature.chain)


def _extend(node: Node, features: list[Feature | None], learning: bool) -> list[Feature] | None:
    """The features of a node's tops when it belongs to the prefix, else None."""
    if len(features) != 1 or features[0] is None or any(node.loss_weights):
        return None
    feature, layer = features[0], node.layer
    if isinstance(layer, Slice) and not feature.chain and layer.axis == 1:
        low, high = feature.part
        tops = []
        for size in layer.sizes:
            tops.append(Feature(feature.data, (low, low + size)))
            low += size
        return tops if low == high else None
    if learning:
        fits = all(node.propagate) and node.plain
    else:
        fits = all(p.lr_mult == 0 and not p.moves for p in node.params) and not node.views
    if layer.per_sample and fits and len(node.tops) == 1:
        return [Feature(feature.data, feature.part, (*feature.chain, node))]
    return None


def signature(feature: Feature, prefix: Prefix) -> tuple[Any, ...]:
    """Equal for features that are the same function of their pixels (those of twins, say)."""
    layer = prefix.data[feature.data].layer
    assert isinstance(layer, Data)
    steps = tuple(
        (
            node.layer.spec.type,
            function_settings(node),
            tuple(id(p.tensor) for p in node.params),
        )
        for node in feature.chain
    )
    return (layer.transform.part_signature(feature.part), layer.source.shape[1:], steps)
