"""Caffe's log of building a net: rules, layers, inserted splits, shapes, memory, gradients.

The line numbers after file names are those of BVLC Caffe 1.0's sources, as its log has them; messages that no recorded
log shows have 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from siamplex.dropin.glog import info, number
from siamplex.dropin.message_text import message_text
from siamplex.engine.layers.data import Data
from siamplex.engine.layers.hdf5_data import HDF5Data
from siamplex.engine.layers.image_data import ImageData
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node
from siamplex.engine.net.phase import net_state
from siamplex.engine.net.splits import Placed, insert_splits
from siamplex.engine.net.wiring import AUTOMATIC
from siamplex.schema import messages
from siamplex.schema.messages import enum_name

_OWN_SOFTMAX = frozenset({"SoftmaxWithLoss", "InfogainLoss"})  # Caffe makes a Softmax of the same name in them


def log_net(net: Net, *states: Any) -> None:
    """Log how a net was built; ``states`` are added to its own."""
    state = net_state(net.phase, net.message.state, *states)
    _log_rules(net.message, state)
    info(f"Initializing net from parameters: \n{message_text(_filtered(net, state))}", "net.cpp:53")
    built = _Built(net, insert_splits([node.layer.spec.message for node in net.nodes]))
    for placed in built.layers:
        built.log_layer(placed)
    built.log_gradients()
    for name in net.outputs:
        info(f"This network produces output {name}", "net.cpp:244")
    info("Network initialization done.", "net.cpp:257")
    for note in net.notes:  # Caffe has none
        info(note)


def layer_names(net: Net) -> list[str]:
    """Names of a net's layers in order, with the splits that Caffe inserts."""
    return [str(p.message.name) for p in insert_splits([node.layer.spec.message for node in net.nodes])]


def _filtered(net: Net, state: Any) -> Any:
    """The NetParameter with the layers of its state alone."""
    made = messages.NetParameter()
    made.CopyFrom(net.message)
    made.ClearField("layer")
    made.layer.extend(node.layer.spec.message for node in net.nodes)
    made.state.CopyFrom(state)
    return made


# --- rules


def _log_rules(message: Any, state: Any) -> None:
    """Say which condition of a rule is not met, of all rules that Caffe looks at."""
    for layer in message.layer:
        for rule in layer.include or layer.exclude:
            unmet = _unmet(rule, state)
            if unmet is None:
                break
            what, line = unmet
            info(f"The NetState {what} specified by a rule in layer {layer.name}", f"net.cpp:{line}")


def _unmet(rule: Any, state: Any) -> tuple[str, int] | None:
    """The first condition of a rule that a state does not meet, in Caffe's words and with its line, if any."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return f"phase ({state.phase}) differed from the phase ({rule.phase})", 296
    if rule.HasField("min_level") and state.level < rule.min_level:
        return f"level ({state.level}) is above the min_level ({rule.min_level})", 0
    if rule.HasField("max_level") and state.level > rule.max_level:
        return f"level ({state.level}) is above the max_level ({rule.max_level})", 0
    for stage in rule.stage:
        if stage not in state.stage:
            return f"did not contain stage '{stage}'", 332
    for stage in rule.not_stage:
        if stage in state.stage:
            return f"contained a not_stage '{stage}'", 0
    return None


# --- layers


def _log_source(node: Node, shape: tuple[int, ...]) -> None:
    """Say what a layer feeds the net with."""
    layer = node.layer
    size = f"output data size: {','.join(map(str, shape))}"
    if isinstance(layer, Data):
        info(size, "data_layer.cpp:45")
    elif isinstance(layer, ImageData):
        info(f"Opening file {layer.params.source}", "image_data_layer.cpp:0")
        info(f"A total of {layer.source.entries} images.", "image_data_layer.cpp:0")
        info(size, "image_data_layer.cpp:0")
    elif isinstance(layer, HDF5Data):
        info(f"Loading list of HDF5 filenames from: {layer.params.source}", "hdf5_data_layer.cpp:0")
        info(f"Number of HDF5 files: {layer.source.files}", "hdf5_data_layer.cpp:0")


@dataclass
class _Built:
    """A net's layers as Caffe runs them, and what is known of their blobs and parameters so far."""

    net: Net
    layers: list[Placed]
    memory: int = 0
    owners: dict[str, tuple[str, int]] = field(default_factory=dict)  # of parameters, by their names
    needed: dict[str, bool] = field(default_factory=dict)  # whether a blob has a gradient to give back
    backward: list[bool] = field(default_factory=list)  # whether a layer has

    def node(self, placed: Placed) -> Node | None:
        """The node of a layer; None for a split."""
        return None if placed.is_split else self.net.nodes[placed.origin]

    def log_layer(self, placed: Placed) -> None:
        """Log how a layer is made and set up."""
        layer, node = placed.message, self.node(placed)
        name = str(layer.name)
        info(f"Creating layer {name}", "layer_factory.hpp:77")
        if node and isinstance(node.layer, Data):
            backend = enum_name(node.layer.params, "backend").lower()
            where = "db_lmdb.cpp:35" if backend == "lmdb" else "db_leveldb.cpp:0"
            info(f"Opened {backend} {node.layer.params.source}", where)
        info(f"Creating Layer {name}", "net.cpp:86")
        for bottom in layer.bottom:
            info(f"{name} <- {bottom}", "net.cpp:408")
        tops = list(self.tops(placed))
        for index, (top, _, _) in enumerate(tops):
            if index < len(layer.bottom) and index < len(layer.top) and layer.bottom[index] == top:
                info(f"{name} -> {top} (in-place)", "net.cpp:369")
            else:
                info(f"{name} -> {top}", "net.cpp:382")
        if node:
            _log_source(node, tops[0][1] if tops else ())
        if node and layer.type in _OWN_SOFTMAX:
            info(f"Creating layer {name}", "layer_factory.hpp:77")
        info(f"Setting up {name}", "net.cpp:124")
        for _, shape, weight in tops:
            sizes = "".join(f"{size} " for size in shape)
            info(f"Top shape: {sizes}({math.prod(shape)})", "net.cpp:131")
            if weight:
                info(f"    with loss weight {number(weight)}", "net.cpp:134")
            self.memory += 4 * math.prod(shape)
        info(f"Memory required for data: {self.memory}", "net.cpp:139")
        if node:
            self._log_sharing(node)
        self._see_gradient(placed, [top for top, _, _ in tops])

    def tops(self, placed: Placed) -> Iterator[tuple[str, tuple[int, ...], float]]:
        """Name, shape and loss weight of each top."""
        layer, node = placed.message, self.node(placed)
        if node is None:
            shape = self.net.shapes[layer.bottom[0]]
            for index, top in enumerate(layer.top):
                yield str(top), shape, float(layer.loss_weight[index]) if layer.loss_weight else 0.0
            return
        for top, weight in zip(node.tops, node.loss_weights, strict=True):
            yield top, () if top == AUTOMATIC else self.net.shapes[top], weight

    def _log_sharing(self, node: Node) -> None:
        """Say which parameters are shared with an earlier layer."""
        for index, spec in enumerate(node.layer.spec.message.param[: len(node.params)]):
            if not spec.name:
                continue
            if spec.name in self.owners:
                layer, at = self.owners[spec.name]
                what = f"Sharing parameters '{spec.name}' owned by layer '{layer}', param index {at}"
                info(what, "net.cpp:0")
            else:
                self.owners[spec.name] = node.layer.spec.name, index

    def _see_gradient(self, placed: Placed, tops: list[str]) -> None:
        """Note whether a layer has a gradient to compute: by its bottoms, or by parameters of a rate other than 0."""
        layer, node = placed.message, self.node(placed)
        learns = node is not None and any(
            index >= len(layer.param) or layer.param[index].lr_mult != 0 for index in range(len(node.params))
        )
        needs = learns or any(self.needed.get(bottom, False) for bottom in layer.bottom)
        self.backward.append(needs)
        for top in tops:
            self.needed[top] = self.needed.get(top, False) or needs

    def log_gradients(self) -> None:
        """Say of each layer, from the last to the first, whether it computes a gradient."""
        under_loss: set[str] = set()
        skipped: set[str] = set()
        for placed, need in zip(reversed(self.layers), reversed(self.backward), strict=True):
            layer = placed.message
            tops = list(self.tops(placed))
            contributes = any(weight or top in under_loss for top, _, weight in tops)
            needs = need and contributes and not all(top in skipped for top, _, _ in tops)
            info(
                f"{layer.name} {'needs' if needs else 'does not need'} backward computation.",
                "net.cpp:200" if needs else "net.cpp:202",
            )
            skips_all = need and all(top in skipped for top, _, _ in tops)
            for index, bottom in enumerate(layer.bottom):
                wanted = layer.propagate_down[index] if layer.propagate_down else self.needed.get(bottom, False)
                if contributes:
                    under_loss.add(bottom)
                if not (wanted and contributes and not skips_all):
                    skipped.add(bottom)
