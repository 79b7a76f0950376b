"""A net: the layers of a prototxt that belong to a phase, wired by blob names, run in order."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from siamplex.engine.net.fillers import FillerError, fill
from siamplex.engine.net.layer import ALL, BlobSpec, Context, Layer, LayerSpec, Shape, Share, create
from siamplex.engine.net.limits import Budget
from siamplex.engine.net.overwritten import Arrays, Overwritten
from siamplex.engine.net.phase import included, net_state
from siamplex.engine.net.stand_ins import StandIns
from siamplex.engine.net.unfilled import OPTION, Unfilled, refusal, unfilled
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import messages
from siamplex.schema.blobs import Array
from siamplex.schema.hdf5_weights import OwnArrays
from siamplex.schema.messages import enum_name, enum_value
from siamplex.schema.prototxt import Prototxt
from siamplex.schema.weights import last_of

AUTOMATIC = "(automatic)"  # the top of a loss that names none


@dataclass
class Parameter:
    """A learnable array: the layer and blob index that own it, its rates, its values.

    ``tensor`` is float32 on the net's device; it asks for a gradient unless ``lr_mult`` is 0.
    Layers that share it by name hold this same object.  ``moves`` says that forward passes change it
    (the statistics of BatchNorm).
    """

    layer: str
    index: int
    name: str
    lr_mult: float
    decay_mult: float
    tensor: torch.Tensor
    states_lr: bool = False
    states_decay: bool = False
    moves: bool = False
    by_factors: bool = True  # whether all that read it are plain InnerProducts

    def is_of(self, layer: str, index: int) -> bool:
        """Whether it is a layer's own array of that index, not one that it shares."""
        return self.layer == layer and self.index == index

    @property
    def label(self) -> str:
        """How messages call it: ``fc4[0]``."""
        return f"{self.layer}[{self.index}]"


@dataclass
class Node:
    """One layer in its place: where it reads, what it writes, what its tops add to the loss.

    ``views`` are the shapes in which it sees parameters that another layer owns in other ones (share_mode
    PERMISSIVE), by blob index.
    """

    layer: Layer
    bottoms: list[str]
    tops: list[str]
    params: list[Parameter]
    loss_weights: list[float]
    propagate: list[bool]
    train: bool
    views: dict[int, Shape] = field(default_factory=dict)
    overwritten: Overwritten | None = None

    @cached_property
    def name(self) -> str:
        """The layer's name, made unique in the net."""
        return self.layer.spec.key

    @property
    def plain(self) -> bool:
        """Whether the layer may run apart from the net: on its own bottoms and parameters, nothing else."""
        return not self.views and self.overwritten is None

    @property
    def owns(self) -> bool:
        """Whether any of its parameters is its own."""
        return any(p.layer == self.name for p in self.params)

    def tensors(self) -> list[torch.Tensor]:
        """The parameters in the shapes the layer expects."""
        if not self.views:
            return [p.tensor for p in self.params]
        return [p.tensor.view(self.views.get(i, p.tensor.shape)) for i, p in enumerate(self.params)]


class Net:
    """Builds and runs a NetParameter as Caffe does.

    ``message_path`` leads to the NetParameter inside ``source`` (empty for a net's own file); :attr:`message` is it.
    Parameters that ``hollow`` names, by layer and index, have a shape but no memory: a plan stands in for all that
    would read them.
    Raises PrototxtError, naming layer and line, for anything that cannot be built.
    """

    def __init__(
        self,
        source: Prototxt,
        phase: str,
        *,
        message: Any = None,
        message_path: tuple[str | int, ...] = (),
        state: Any = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        share_with: Net | None = None,
        share: Share = ALL,
        hollow: Collection[tuple[str, int]] = (),
    ) -> None:
        self.source, self.phase, self.seed = source, phase, seed
        self._hollow = hollow
        self.device = torch.device(device)
        self.message = source.message if message is None else message
        self._path = message_path
        self._share_with = share_with
        self.name = str(self.message.name)
        self.nodes: list[Node] = []
        self.parameters: list[Parameter] = []
        self._by_name: dict[str, Parameter] = {}
        self.shapes: dict[str, Shape] = {}
        self.inputs: list[str] = []
        self._unread: dict[str, None] = {}
        self._budget = Budget(self.device)
        self.stand_ins = StandIns()
        self._kept: tuple[int, list[Node]] = (0, [])
        full_state = net_state(phase, self.message.state, *([state] if state is not None else []))
        self._state = full_state
        self.filled: set[str] = set()  # layers that weights were loaded into
        self._arrays = Arrays()
        specs = [
            LayerSpec(layer, source, (*message_path, "layer", index), share)
            for index, layer in enumerate(self.message.layer)
        ]
        for spec in specs:
            self._check_rules(spec)
        for spec in specs:
            if included(spec.message, full_state):
                twin = sum(node.layer.spec.name == spec.name for node in self.nodes)
                self._add(replace(spec, twin=twin) if twin else spec)
        self._arrays.mark(self.nodes)
        self._check_shared()
        # in byte order, as Caffe lists them
        self.outputs = sorted(self._unread, key=lambda name: name.encode())

    # --- building

    def _check_rules(self, spec: LayerSpec) -> None:
        if spec.message.include and spec.message.exclude:
            raise spec.error("give include rules or exclude rules, not both", "exclude", 0)

    def _add(self, spec: LayerSpec) -> None:
        layer = create(spec)
        bottoms = self._take_bottoms(spec)
        given = [self.shapes[name] for name in bottoms]
        try:
            shapes = layer.setup(given)
        except (IndexError, ValueError, ZeroDivisionError):  # too few axes, or none of a size it divides by
            raise spec.error(f"takes no bottoms of shapes {', '.join(map(str, given))}", "bottom", 0) from None
        tops = self._place_tops(layer, bottoms, shapes)
        node = Node(layer, bottoms, tops, [], self._weights(layer, tops), [], True)
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
        node.train = (enum_name(spec.message, "phase") if spec.message.HasField("phase") else self.phase) == "TRAIN"
        if spec.type == "Input":
            self.inputs.extend(tops)
        self.nodes.append(node)
        self._arrays.add(node)

    def _take_bottoms(self, spec: LayerSpec) -> list[str]:
        names = [str(name) for name in spec.message.bottom]
        for i, name in enumerate(names):
            if name not in self.shapes:
                raise spec.error(f"bottom '{name}' is no top of a layer before it", "bottom", i)
            self._unread.pop(name, None)
        return names

    def _place_tops(self, layer: Layer, bottoms: list[str], shapes: list[Shape]) -> list[str]:
        spec = layer.spec
        tops = [str(name) for name in spec.message.top]
        if layer.is_loss and not tops:
            return [AUTOMATIC]  # nobody can read it, and it is no output
        for i, (name, shape) in enumerate(zip(tops, shapes, strict=True)):
            in_place = i < len(bottoms) and bottoms[i] == name
            if name in self.shapes and not in_place:
                raise spec.error(f"top '{name}' is already the top of another layer", "top", i)
            refused = None if in_place else self._budget.take(shape)
            if refused:
                raise spec.error(f"top '{name}': {refused}", "top", i)
            self.shapes[name] = shape
            self._unread[name] = None
        return tops

    def _weights(self, layer: Layer, tops: list[str]) -> list[float]:
        given = [float(w) for w in layer.spec.message.loss_weight]
        if given and len(given) != len(tops):
            raise layer.spec.error(f"{len(given)} loss weights for {len(tops)} tops", "loss_weight", 0)
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
        """Let a layer share ``owner``; the rates either states hold for both and must agree."""
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
        if rule.HasField("lr_mult"):
            if owner.states_lr and owner.lr_mult != rule.lr_mult:
                raise spec.error(
                    f"param '{owner.name}' has lr_mult {owner.lr_mult:g} in layer '{owner.layer}', "
                    f"{rule.lr_mult:g} here",
                    "param", index, "lr_mult", 0,
                )  # fmt: skip
            owner.lr_mult, owner.states_lr = float(rule.lr_mult), True
        if rule.HasField("decay_mult"):
            if owner.states_decay and owner.decay_mult != rule.decay_mult:
                raise spec.error(
                    f"param '{owner.name}' has decay_mult {owner.decay_mult:g} in layer "
                    f"'{owner.layer}', {rule.decay_mult:g} here",
                    "param", index, "decay_mult", 0,
                )  # fmt: skip
            owner.decay_mult, owner.states_decay = float(rule.decay_mult), True
        return owner

    def _values(self, spec: LayerSpec, index: int, blob: BlobSpec) -> torch.Tensor:
        tensor = self._shared_values(spec, index, blob)
        if tensor is not None:
            return tensor
        if (spec.name, index) in self._hollow:
            return torch.zeros((), device=self.device).expand(blob.shape)
        refused = self._budget.take(blob.shape)
        if refused:
            raise spec.error(f"blob {index}: {refused}")
        try:
            values = fill(blob.filler, blob.shape, self.seed, spec.key, index)
        except FillerError as error:
            raise spec.error(str(error)) from None
        return torch.from_numpy(values).to(self.device)

    def _shared_values(self, spec: LayerSpec, index: int, blob: BlobSpec) -> torch.Tensor | None:
        """The other net's values, where it has them.

        Of several layers of one name Caffe fills the first here with the last one's there.
        """
        if self._share_with is None or spec.twin:
            return None
        for node in reversed(self._share_with.nodes):
            if node.layer.spec.name == spec.name and index < len(node.params):
                tensor = node.tensors()[index]
                if tuple(tensor.shape) != blob.shape:
                    raise spec.error(
                        f"blob {index} has shape {blob.shape} in phase {self.phase}, "
                        f"{tuple(tensor.shape)} in phase {self._share_with.phase}"
                    )
                return tensor
        return None

    def _check_shared(self) -> None:
        """Refuse layers of one name with other numbers of blobs in the net whose values are shared, as Caffe does."""
        for theirs in self._share_with.nodes if self._share_with else ():
            for mine in self.nodes:
                if mine.layer.spec.name == theirs.layer.spec.name:
                    if len(mine.params) != len(theirs.params):
                        raise mine.layer.spec.error(
                            f"{len(mine.params)} blobs in phase {self.phase}, {len(theirs.params)} in the other's "
                            "layer of this name"
                        )
                    break

    # --- weights

    def load(self, weights: Mapping[str, Sequence[Array]], path: object, own: bool = False) -> list[str]:
        """Copy arrays into the layers of the same names; return the names of layers filled.

        Layers the file lacks keep their values, layers the net lacks are passed over, as in
        Caffe; a layer with another number or shape of arrays raises InputError naming ``path``.
        Of several layers of one name Caffe fills the first with the last one's arrays; of a file
        of this net's ``own`` each has what it wrote.
        """
        filled = []
        for node in self.nodes:
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
                    continue  # another layer brings it
                shape = tuple(tensor.shape)
                if _core(array.shape) != _core(shape):
                    raise InputError(
                        str(path),
                        f"shape {shape} for {node.name}[{parameter.index}]",
                        f"{tuple(array.shape)}",
                    )
                assign(tensor, array)
            filled.append(node.name)
        self.filled.update(filled)
        return filled

    def unfilled(self, learning: bool = True, elsewhere: Iterable[str] = ()) -> list[Unfilled]:
        """Layers that stay as their fillers made them and should not, by what was loaded so far.

        Layers ``elsewhere`` have the arrays of another net (:func:`~siamplex.engine.net.unfilled.unfilled`).
        """
        return unfilled(self.message, self._state, {*self.filled, *elsewhere}, learning)

    def refuse_unfilled(
        self, found: Sequence[Unfilled], given: Sequence[object], option: str = OPTION, hint: str = ""
    ) -> PrototxtError:
        """The error for :meth:`unfilled` layers; ``given`` are the files that were loaded."""
        return refusal(self.source, self._path, found, given, option, hint)

    def owned(self) -> Iterable[tuple[Any, list[Array]]]:
        """(LayerParameter, arrays) of every layer that owns its arrays, for a caffemodel.

        Caffe reads an array into the layer the file names and its twins share it; a layer that
        owns some of its arrays and borrows others is given in full.
        """
        for node in self.nodes:
            if node.owns:
                head = messages.LayerParameter()
                head.CopyFrom(node.layer.spec.message)
                head.phase = enum_value("Phase", self.phase)
                yield head, [values(tensor) for tensor in node.tensors()]

    # --- running

    @property
    def notes(self) -> list[str]:
        """Remarks on the prototxt, for the log."""
        return [note for node in self.nodes for note in node.layer.notes]

    def node(self, name: str) -> Node:
        """The node of a layer's name."""
        return next(node for node in self.nodes if node.name == name)

    def learn(self) -> None:
        """Ask for gradients of the parameters that move."""
        for parameter in self.parameters:
            parameter.tensor.requires_grad_(parameter.lr_mult != 0)

    def forward(
        self,
        context: Context,
        given: Mapping[str, torch.Tensor] | None = None,
        until: str | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Run the layers; return the weighted loss (a scalar) and the blobs by name.

        ``given`` holds the values of inputs (or of any blob: the layer that would make it is then
        passed over).  With ``until`` the run ends once that blob has its final value.
        """
        blobs: dict[str, torch.Tensor] = {k: v.to(self.device) for k, v in (given or {}).items()}
        loss: torch.Tensor | None = None
        last = self._last_writer(until) if until else None
        contexts = {train: replace(context, train=train) for train in (True, False)}
        if self._arrays.marked:
            self._arrays.begin()
        for node in self._to_run(whole=last is not None):
            if node.name not in self.stand_ins.skipped and not (given and self._is_given(node, given)):
                part = self._run(node, blobs, contexts[node.train])
                loss = part if loss is None else loss if part is None else loss + part
            if node is last:
                break
        return torch.zeros((), device=self.device) if loss is None else loss, blobs

    def _is_given(self, node: Node, given: Mapping[str, torch.Tensor]) -> bool:
        """Whether the caller gave what a node would make; of inputs, any: a net may not read them all."""
        if node.layer.spec.type == "Input":
            return any(top in given for top in node.tops)
        return bool(node.tops) and all(top in given for top in node.tops)

    def _to_run(self, whole: bool) -> list[Node]:
        """The nodes in order, those passed over left out unless ``whole``: most of them, behind a shortcut."""
        if whole or not self.stand_ins.skipped:
            return self.nodes
        skipped = self.stand_ins.skipped
        if self._kept[0] != len(skipped):
            self._kept = len(skipped), [node for node in self.nodes if node.name not in skipped]
        return self._kept[1]

    def _last_writer(self, blob: str) -> Node:
        writers = [node for node in self.nodes if blob in node.tops]
        if not writers:
            raise self.source.error(f"no layer has the top '{blob}'")
        return writers[-1]

    def _run(self, node: Node, blobs: dict[str, torch.Tensor], context: Context) -> torch.Tensor | None:
        """Run one node; returns what its tops add to the loss, if anything."""
        if node.name in self.stand_ins.nodes:
            tops = self.stand_ins.nodes[node.name](context)
        else:
            bottoms = self._bottoms(node, blobs)
            if node.overwritten:
                with node.overwritten as kept:
                    tops = node.layer.forward(bottoms, node.tensors(), context)
                kept.watch(bottoms, "bottom")
                kept.watch(tops, "top")
            else:
                tops = node.layer.forward(bottoms, node.tensors(), context)
        loss: torch.Tensor | None = None
        for name, top, weight in zip(node.tops, tops, node.loss_weights, strict=True):
            blobs[name] = top.to(self.device)
            self._arrays.wrote(node, name, blobs[name])
            if weight:
                part = blobs[name].sum() if blobs[name].dim() else blobs[name]
                part = part if weight == 1 else weight * part
                loss = part if loss is None else loss + part
        return loss

    def _bottoms(self, node: Node, blobs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        instead = self.stand_ins.bottoms.get(node.name, {})
        bottoms = []
        for index, (name, passes) in enumerate(zip(node.bottoms, node.propagate, strict=True)):
            if index in instead:
                blob = instead[index]()
            elif name in blobs:
                blob = blobs[name]
            else:
                raise self.source.error(f"input '{name}' was not given")
            bottoms.append(blob if passes else blob.detach())
        return bottoms


def _borrows_the_rest(node: Node, arrays: Sequence[Array]) -> bool:
    """Whether a file that names each array in its owner alone has all that a layer does not borrow."""
    if not isinstance(arrays, OwnArrays) or len(arrays) > len(node.params):
        return False
    return not any(p.is_of(node.name, i) for i, p in enumerate(node.params) if i >= len(arrays))


def takes_factors(node: Node) -> bool:
    """Whether a layer gives its weight's gradient as factors, where the update asks for them so."""
    return node.layer.takes_factors and not node.views


def _core(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without leading ones: files of Caffe's older ages wrote four axes for all arrays."""
    shape = list(shape)
    while shape and shape[0] == 1:
        shape.pop(0)
    return tuple(shape)


def assign(tensor: torch.Tensor, array: Array) -> None:
    """Copy an array (read-only ones too) into a tensor of as many values."""
    with torch.no_grad():
        if tensor.device.type == "cpu" and tensor.is_contiguous():
            np.copyto(tensor.detach().numpy(), array.reshape(tuple(tensor.shape)))
        else:
            tensor.copy_(torch.from_numpy(np.array(array)).reshape(tensor.shape))


def values(tensor: torch.Tensor) -> Array:
    """A tensor's values on the CPU (a view where it is there already)."""
    array: Array = tensor.detach().cpu().contiguous().numpy()
    return array
