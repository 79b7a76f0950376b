"""Wiring a net: it connects a prototxt's layers of one phase by blob names, into nodes, shapes and parameters."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import torch

from siamplex.engine.net.fillers import FillerError, check, fill
from siamplex.engine.net.layer import BlobSpec, Layer, LayerSpec, Shape, Share
from siamplex.engine.net.layer_types import create
from siamplex.engine.net.limits import NO_LIMIT, Budget
from siamplex.engine.net.node import Node, Parameter, set_up, takes_factors
from siamplex.engine.net.overwritten import Arrays
from siamplex.engine.net.phase import included, trains
from siamplex.engine.net.splits import copied_bottoms
from siamplex.schema.messages import enum_name
from siamplex.schema.prototxt import Prototxt

AUTOMATIC = "(automatic)"  # the top of a loss that names none


class Wiring:
    """Adds one layer after the other, as Caffe does; raises PrototxtError, with layer and line, where one does not fit.

    ``nodes`` are in the order of the file, ``parameters`` in the order of their owners.  ``shapes`` are those of blobs
    by name, ``inputs`` and ``outputs`` blob names.  ``arrays`` are the arrays that Caffe would have for the blobs,
    ``budget`` the memory that blobs and parameters are counted against.
    A test net shares parameters with the train net: ``theirs`` are the nodes of that net, of ``their_phase``.
    """

    def __init__(
        self, message: Any, source: Prototxt, path: tuple[str | int, ...], phase: str, state: Any, seed: int,
        device: torch.device, share: Share, shapes_only: bool, theirs: Sequence[Node], their_phase: str,
        hollow: Collection[tuple[str, int]],
    ) -> None:  # fmt: skip
        self._phase, self._seed, self._device, self._shapes_only = phase, seed, device, shapes_only
        self._theirs, self._their_phase = theirs, their_phase
        self._forced = bool(message.force_backward)
        self._hollow = hollow
        self.nodes: list[Node] = []
        self.parameters: list[Parameter] = []
        self.shapes: dict[str, Shape] = {}
        self.inputs: list[str] = []
        self.arrays = Arrays()
        self._by_name: dict[str, Parameter] = {}
        self._unread: dict[str, None] = {}
        self.budget = Budget(device, None if not shapes_only else NO_LIMIT)
        self._state = state
        self._specs = specs = [
            LayerSpec(layer, source, (*path, "layer", index), share, train=trains(layer, phase))
            for index, layer in enumerate(message.layer)
        ]
        for spec in specs:
            self._check_rules(spec)
        kept = [spec for spec in specs if included(spec.message, state)]
        copied = copied_bottoms([spec.message for spec in kept])
        for number, spec in enumerate(kept):
            twin = sum(node.layer.spec.name == spec.name for node in self.nodes)
            own = [(number, index) not in copied for index in range(len(spec.message.bottom))]
            self._add(replace(spec, twin=twin) if twin else spec, own)
        self.arrays.mark(self.nodes)
        self._check_shared()
        # in byte order, as Caffe lists them
        self.outputs = sorted(self._unread, key=lambda name: name.encode())

    def _check_rules(self, spec: LayerSpec) -> None:
        if spec.message.include and spec.message.exclude:
            raise spec.error("give include rules or exclude rules, not both", "exclude", 0)

    def _add(self, spec: LayerSpec, own: list[bool]) -> None:
        """Add a layer; ``own`` says of each bottom whether nothing else reads it."""
        if spec.message.blobs:  # Caffe starts from them
            raise spec.error("arrays in a net's text are not read: give them in a caffemodel, as weights", "blobs", 0)
        if any(name in spec.message.top and name not in self.shapes for name in spec.message.bottom):
            self._take_bottoms(spec)  # raises: no layer makes its own bottom; it may not work in place either
        layer = create(spec)
        bottoms = self._take_bottoms(spec)
        given = [self.shapes[name] for name in bottoms]
        shapes = set_up(layer, given)
        tops = self._place_tops(layer, bottoms, own, shapes)
        node = Node(layer, bottoms, tops, [], self._weights(layer, tops), [], True, given, list(shapes))
        node.params = [self._parameter(node, i, blob) for i, blob in enumerate(layer.blobs)]
        if len(spec.message.param) > len(layer.blobs):
            raise spec.error(
                f"{len(spec.message.param)} param entries for {len(layer.blobs)} blobs",
                "param",
                len(layer.blobs),
            )
        node.propagate = [bool(p) for p in spec.message.propagate_down] or [True] * len(bottoms)
        if len(node.propagate) != len(bottoms):
            raise spec.error("propagate_down must be given once for each bottom", "propagate_down", 0)
        if self._forced:
            node.propagate = [passes or i not in layer.unforced for i, passes in enumerate(node.propagate)]
        node.train = spec.train
        if spec.type == "Input":
            self.inputs.extend(tops)
        self.nodes.append(node)
        self.arrays.add(node)

    def _take_bottoms(self, spec: LayerSpec) -> list[str]:
        names = [str(name) for name in spec.message.bottom]
        for i, name in enumerate(names):
            if name not in self.shapes:
                what = f"bottom '{name}' is no top of a layer before it{self._about_missing(name, spec)}"
                raise spec.error(what, "bottom", i)
            self._unread.pop(name, None)
        return names

    def _about_missing(self, name: str, reader: LayerSpec) -> str:
        """What may be wrong with a bottom that no layer before ``reader`` makes; empty where nothing is known."""
        at = next((i for i, spec in enumerate(self._specs) if spec.path == reader.path), len(self._specs))
        makers = [(i, spec) for i, spec in enumerate(self._specs) if name in spec.message.top]
        for i, spec in makers:
            if i < at:  # left out by its rules, as DIGITS's stages
                stages = ", ".join(self._state.stage) or "none"
                return (
                    f"; layer '{spec.name}' makes it, but its include and exclude rules leave it out of "
                    f"phase {self._phase}, level {self._state.level}, stages: {stages}"
                )
        if makers:
            after = "is that layer" if makers[0][0] == at else "comes after it"
            return f"; layer '{makers[0][1].name}', which makes it, {after}"
        near = get_close_matches(name, self.shapes, n=1, cutoff=0.8)
        if near:
            return f"; is '{near[0]}' meant?"
        if any(not spec.message.bottom for spec in self._specs):
            return ""
        return f'; the net has no data: write input: "{name}" and input_shape {{ dim: ... }}, or a layer of type Input'

    def _place_tops(self, layer: Layer, bottoms: list[str], own: list[bool], shapes: list[Shape]) -> list[str]:
        spec = layer.spec
        tops = [str(name) for name in spec.message.top]
        if layer.is_loss and not tops:
            return [AUTOMATIC]  # nobody can read it, and it is no output
        for i, (name, shape) in enumerate(zip(tops, shapes, strict=True)):
            in_place = i < len(bottoms) and bottoms[i] == name
            if name in self.shapes and not in_place:
                raise spec.error(f"top '{name}' is already the top of another layer", "top", i)
            if in_place:
                self._check_in_place(spec, i, own[i], shape)
            if 0 in shape:
                what = f"top '{name}' of shape {shape} is empty: every axis needs a size of at least 1"
                raise spec.error(what, "top", i)
            refused = None if in_place else self.budget.take(shape)
            if refused:
                raise spec.error(f"top '{name}': {refused}", "top", i)
            self.shapes[name] = shape
            self._unread[name] = None
        return tops

    def _check_in_place(self, spec: LayerSpec, index: int, alone: bool, shape: Shape) -> None:
        """Refuse what Caffe refuses of a layer whose top has the name of the bottom at the same index."""
        name = spec.message.top[index]
        if not alone:  # its bottom is then a copy, with another name, and to Caffe the top is that of two layers
            what = f"'{name}' has other readers or a loss weight: a layer cannot work in place on it"
            raise spec.error(f"{what}; give its top another name", "top", index)
        if math.prod(shape) != math.prod(self.shapes[name]):  # the next pass of Caffe would set it up for its own top
            what = f"works not in place on {self.shapes[name]}, as its top has another size, {shape}"
            raise spec.error(f"{what}: give its top another name than its bottom's", "top", index)

    def _weights(self, layer: Layer, tops: list[str]) -> list[float]:
        given = [float(w) for w in layer.spec.message.loss_weight]
        if given and len(given) != len(tops):
            raise layer.spec.error(f"{len(given)} loss weights for {len(tops)} tops", "loss_weight", 0)
        if given and not layer.weighs:
            layer.notes.append(str(layer.spec.error("its loss_weight has no effect", "loss_weight", 0)))
            return [0.0] * len(tops)
        if given:
            return given
        return [1.0 if layer.is_loss and i == 0 else 0.0 for i in range(len(tops))]

    def _parameter(self, node: Node, index: int, blob: BlobSpec) -> Parameter:
        spec = node.layer.spec
        rule = spec.message.param[index] if index < len(spec.message.param) else None
        name = str(rule.name) if rule is not None else ""
        if not blob.learns and rule is not None and rule.lr_mult != 0:
            raise spec.error(f"blob {index} is a statistic: its lr_mult must be 0", "param", index)
        if name and name in self._by_name:
            self._check_filler(spec, blob)  # Caffe fills it as well, before it takes the owner's values
            return self._join(node, index, blob, self._by_name[name], rule)
        parameter = Parameter(
            layer=node.name,
            index=index,
            name=name,
            lr_mult=0.0 if not blob.learns else float(rule.lr_mult) if rule is not None else 1.0,
            decay_mult=float(rule.decay_mult) if rule is not None else 1.0,
            tensor=self._values(spec, index, blob),
            states_lr=rule is not None and rule.HasField("lr_mult"),
            states_decay=rule is not None and rule.HasField("decay_mult"),
            moves=not blob.learns,
            by_factors=takes_factors(node),
        )
        if name:
            self._by_name[name] = parameter
        self.parameters.append(parameter)
        return parameter

    def _join(self, node: Node, index: int, blob: BlobSpec, owner: Parameter, rule: Any) -> Parameter:
        """Let a layer share ``owner``; a multiplier that either states holds for both, and two must agree."""
        spec, shape = node.layer.spec, tuple(owner.tensor.shape)
        permissive = enum_name(rule, "share_mode") == "PERMISSIVE"
        if shape != blob.shape and not (permissive and owner.tensor.numel() == math.prod(blob.shape)):
            raise spec.error(
                f"param '{owner.name}' has shape {shape} in layer '{owner.layer}', {blob.shape} here",
                "param",
                index,
            )
        if shape != blob.shape:
            node.views[index] = blob.shape
        owner.by_factors = owner.by_factors and takes_factors(node)
        owner.moves = owner.moves or not blob.learns
        owner.lr_mult, owner.states_lr = _agreed(spec, index, rule, "lr_mult", owner, owner.states_lr)
        owner.decay_mult, owner.states_decay = _agreed(spec, index, rule, "decay_mult", owner, owner.states_decay)
        return owner

    def _values(self, spec: LayerSpec, index: int, blob: BlobSpec) -> torch.Tensor:
        tensor = self._shared_values(spec, index, blob)
        if tensor is not None:
            return tensor
        if (spec.name, index) in self._hollow:
            return torch.zeros((), device=self._device).expand(blob.shape)
        refused = self.budget.take(blob.shape)
        if refused:
            raise spec.error(f"blob {index}: {refused}")
        self._check_filler(spec, blob)
        if self._shapes_only:
            return torch.empty(blob.shape, device="meta")
        return torch.from_numpy(fill(blob.filler, blob.shape, self._seed, spec.key, index)).to(self._device)

    def _check_filler(self, spec: LayerSpec, blob: BlobSpec) -> None:
        try:
            check(blob.filler, blob.shape)
        except FillerError as error:
            raise spec.error(str(error)) from None

    def _shared_values(self, spec: LayerSpec, index: int, blob: BlobSpec) -> torch.Tensor | None:
        """The values that the other net shares; None where it has none.

        Where several layers have one name, Caffe fills the first one here with those of the last one there.
        """
        if not self._theirs or spec.twin:
            return None
        for node in reversed(self._theirs):
            if node.layer.spec.name == spec.name and index < len(node.params):
                tensor = node.tensors()[index]
                if tuple(tensor.shape) != blob.shape:
                    raise spec.error(
                        f"blob {index} has shape {blob.shape} in phase {self._phase}, "
                        f"{tuple(tensor.shape)} in phase {self._their_phase}"
                    )
                return tensor
        return None

    def _check_shared(self) -> None:
        """Refuse layers whose number of blobs differs from their namesake's in the other net, as Caffe does."""
        for theirs in self._theirs:
            for mine in self.nodes:
                if mine.layer.spec.name == theirs.layer.spec.name:
                    if len(mine.params) != len(theirs.params):
                        raise mine.layer.spec.error(
                            f"{len(mine.params)} blobs in phase {self._phase}, {len(theirs.params)} in the other's "
                            "layer of this name"
                        )
                    break


def _agreed(spec: LayerSpec, index: int, rule: Any, name: str, owner: Parameter, stated: bool) -> tuple[float, bool]:
    """The multiplier ``name`` that ``owner`` has once ``rule`` shares it, and whether a layer has stated it by then."""
    before = getattr(owner, name)
    if not rule.HasField(name):
        return before, stated
    here = float(getattr(rule, name))
    if stated and before != here:
        raise spec.error(
            f"param '{owner.name}' has {name} {before:g} in layer '{owner.layer}', {here:g} here",
            "param", index, name, 0,
        )  # fmt: skip
    return here, True
