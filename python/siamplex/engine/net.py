"""A net: the layers of a prototxt that belong to a phase, wired by blob names, run in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from siamplex.engine.fillers import FillerError, fill
from siamplex.engine.layer import ALL, BlobSpec, Context, Layer, LayerSpec, Shape, Share, create
from siamplex.engine.limits import Budget
from siamplex.engine.phase import included, net_state
from siamplex.engine.unfilled import OPTION, Unfilled, refusal, unfilled
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import messages
from siamplex.schema.blobs import Array
from siamplex.schema.messages import enum_name, enum_value
from siamplex.schema.prototxt import Prototxt


@dataclass
class Parameter:
    """A learnable array: the layer and blob index that own it, its rates, its values.

    ``tensor`` is float32 on the net's device; it asks for a gradient unless ``lr_mult`` is 0.
    Layers that share it by name hold this same object.
    """

    layer: str
    index: int
    name: str
    lr_mult: float
    decay_mult: float
    tensor: torch.Tensor
    states_lr: bool = False
    states_decay: bool = False

    @property
    def label(self) -> str:
        """How messages call it: ``fc4[0]``."""
        return f"{self.layer}[{self.index}]"


@dataclass
class Node:
    """One layer in its place: where it reads, what it writes, what its tops add to the loss."""

    layer: Layer
    bottoms: list[str]
    tops: list[str]
    params: list[Parameter]
    loss_weights: list[float]
    propagate: list[bool]
    train: bool

    @cached_property
    def name(self) -> str:
        return self.layer.spec.name


class Net:
    """Builds and runs a NetParameter as Caffe does.

    ``message_path`` leads to the NetParameter inside ``source`` (empty for a net's own file).
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
    ) -> None:
        self.source, self.phase, self.seed = source, phase, seed
        self.device = torch.device(device)
        self._message = source.message if message is None else message
        self._path = message_path
        self._share_with = share_with
        self.name = str(self._message.name)
        self.nodes: list[Node] = []
        self.parameters: list[Parameter] = []
        self._by_name: dict[str, Parameter] = {}
        self.shapes: dict[str, Shape] = {}
        self.inputs: list[str] = []
        self._unread: dict[str, None] = {}
        self._budget = Budget(self.device)
        # what stands in for a node, or for what it reads, while a shortcut is taken
        self.overrides: dict[str, Callable[[Context], list[torch.Tensor]]] = {}
        self.bottoms_of: dict[str, dict[int, Callable[[], torch.Tensor]]] = {}
        self.skipped: set[str] = set()
        self._kept: tuple[int, list[Node]] = (0, [])
        full_state = net_state(phase, self._message.state, *([state] if state is not None else []))
        self._state = full_state
        self.filled: set[str] = set()  # layers that weights were loaded into
        self._add_legacy_inputs()
        for index, layer in enumerate(self._message.layer):
            if included(layer, full_state):
                self._add(LayerSpec(layer, source, (*message_path, "layer", index), share))
        self.outputs = list(self._unread)

    # --- building

    def _add_legacy_inputs(self) -> None:
        message = self._message
        shapes = [tuple(int(d) for d in shape.dim) for shape in message.input_shape]
        if message.input_dim:
            dims = [int(d) for d in message.input_dim]
            shapes = [tuple(dims[i : i + 4]) for i in range(0, len(dims), 4)]
        if len(shapes) != len(message.input):
            raise self.source.error(f"{len(message.input)} inputs with {len(shapes)} shapes", *self._path, "input", 0)
        for name, shape in zip(message.input, shapes, strict=True):
            self.inputs.append(name)
            refused = self._budget.take(shape)
            if refused:
                raise self.source.error(f"input '{name}': {refused}", *self._path, "input", 0)
            self.shapes[name] = shape
            self._unread[name] = None

    def _add(self, spec: LayerSpec) -> None:
        if any(node.name == spec.name for node in self.nodes):
            raise spec.error("a layer of this name is already there", "name", 0)
        layer = create(spec)
        bottoms = self._take_bottoms(spec)
        shapes = layer.setup([self.shapes[name] for name in bottoms])
        tops = self._place_tops(layer, bottoms, shapes)
        params = [self._parameter(spec, i, blob) for i, blob in enumerate(layer.blobs)]
        if len(spec.message.param) > len(layer.blobs):
            raise spec.error(
                f"{len(spec.message.param)} param entries for {len(layer.blobs)} blobs",
                "param",
                len(layer.blobs),
            )
        propagate = [bool(p) for p in spec.message.propagate_down] or [True] * len(bottoms)
        if len(propagate) != len(bottoms):
            raise spec.error("propagate_down must be given once for each bottom", "propagate_down", 0)
        phase = enum_name(spec.message, "phase") if spec.message.HasField("phase") else self.phase
        if spec.type == "Input":
            self.inputs.extend(tops)
        self.nodes.append(Node(layer, bottoms, tops, params, self._weights(layer, tops), propagate, phase == "TRAIN"))

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
            tops = [spec.name]
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

    def _parameter(self, spec: LayerSpec, index: int, blob: BlobSpec) -> Parameter:
        rule = spec.message.param[index] if index < len(spec.message.param) else None
        name = str(rule.name) if rule is not None else ""
        if name and name in self._by_name:
            return self._join(spec, index, blob, self._by_name[name], rule)
        parameter = Parameter(
            layer=spec.name,
            index=index,
            name=name,
            lr_mult=float(rule.lr_mult) if rule is not None else 1.0,
            decay_mult=float(rule.decay_mult) if rule is not None else 1.0,
            tensor=self._values(spec, index, blob),
            states_lr=rule is not None and rule.HasField("lr_mult"),
            states_decay=rule is not None and rule.HasField("decay_mult"),
        )
        if name:
            self._by_name[name] = parameter
        self.parameters.append(parameter)
        return parameter

    def _join(self, spec: LayerSpec, index: int, blob: BlobSpec, owner: Parameter, rule: Any) -> Parameter:
        """Let a layer share ``owner``; the rates either states hold for both and must agree."""
        shape = tuple(owner.tensor.shape)
        if shape != blob.shape:  # PERMISSIVE sharing of another shape is not supported either
            raise spec.error(
                f"param '{owner.name}' has shape {shape} in layer '{owner.layer}', {blob.shape} here",
                "param",
                index,
            )
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
        shared = self._share_with
        if shared is not None:
            for node in shared.nodes:
                if node.name == spec.name and index < len(node.params):
                    tensor = node.params[index].tensor
                    if tuple(tensor.shape) != blob.shape:
                        raise spec.error(
                            f"blob {index} has shape {blob.shape} in phase {self.phase}, "
                            f"{tuple(tensor.shape)} in phase {shared.phase}"
                        )
                    return tensor
        refused = self._budget.take(blob.shape)
        if refused:
            raise spec.error(f"blob {index}: {refused}")
        try:
            values = fill(blob.filler, blob.shape, self.seed, spec.name, index)
        except FillerError as error:
            raise spec.error(str(error)) from None
        return torch.from_numpy(values).to(self.device)

    # --- weights

    def load(self, weights: Mapping[str, Sequence[Array]], path: object) -> list[str]:
        """Copy arrays into the layers of the same names; return the names of layers filled.

        Layers the file lacks keep their values, layers the net lacks are passed over, as in
        Caffe; a layer with another number or shape of arrays raises InputError naming ``path``.
        """
        filled = []
        for node in self.nodes:
            arrays = weights.get(node.name)
            if not arrays:
                continue
            if len(arrays) != len(node.params):
                raise InputError(
                    str(path),
                    f"{len(node.params)} arrays for layer '{node.name}'",
                    f"{len(arrays)}",
                )
            for parameter, array in zip(node.params, arrays, strict=True):
                shape = tuple(parameter.tensor.shape)
                if _core(array.shape) != _core(shape):
                    raise InputError(
                        str(path),
                        f"shape {shape} for {node.name}[{parameter.index}]",
                        f"{tuple(array.shape)}",
                    )
                assign(parameter.tensor, array)
            filled.append(node.name)
        self.filled.update(filled)
        return filled

    def unfilled(self, learning: bool = True, elsewhere: Iterable[str] = ()) -> list[Unfilled]:
        """Layers that stay as their fillers made them and should not, by what was loaded so far.

        Layers ``elsewhere`` have the arrays of another net (:func:`~siamplex.engine.unfilled.unfilled`).
        """
        return unfilled(self._message, self._state, {*self.filled, *elsewhere}, learning)

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
            if node.params and any(p.layer == node.name for p in node.params):
                head = messages.LayerParameter()
                head.CopyFrom(node.layer.spec.message)
                head.phase = enum_value("Phase", self.phase)
                yield head, [values(p.tensor) for p in node.params]

    # --- running

    def node(self, name: str) -> Node:
        """The node of a layer's name."""
        return next(node for node in self.nodes if node.name == name)

    def run_in_full(self) -> None:
        """Let every layer run again, whatever stood in for some of them."""
        self.overrides.clear()
        self.bottoms_of.clear()
        self.skipped.clear()

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
        for node in self._to_run(whole=last is not None):
            if node.name not in self.skipped and not (given and node.tops and all(top in given for top in node.tops)):
                part = self._run(node, blobs, contexts[node.train])
                loss = part if loss is None else loss if part is None else loss + part
            if node is last:
                break
        return torch.zeros((), device=self.device) if loss is None else loss, blobs

    def _to_run(self, whole: bool) -> list[Node]:
        """The nodes in order, those passed over left out unless ``whole``: most of them, behind a shortcut."""
        if whole or not self.skipped:
            return self.nodes
        if self._kept[0] != len(self.skipped):
            self._kept = len(self.skipped), [node for node in self.nodes if node.name not in self.skipped]
        return self._kept[1]

    def _last_writer(self, blob: str) -> Node:
        writers = [node for node in self.nodes if blob in node.tops]
        if not writers:
            raise self.source.error(f"no layer has the top '{blob}'")
        return writers[-1]

    def _run(self, node: Node, blobs: dict[str, torch.Tensor], context: Context) -> torch.Tensor | None:
        """Run one node; returns what its tops add to the loss, if anything."""
        if node.name in self.overrides:
            tops = self.overrides[node.name](context)
        else:
            tops = node.layer.forward(self._bottoms(node, blobs), [p.tensor for p in node.params], context)
        loss: torch.Tensor | None = None
        for name, top, weight in zip(node.tops, tops, node.loss_weights, strict=True):
            blobs[name] = top.to(self.device)
            if weight:
                part = blobs[name].sum() if blobs[name].dim() else blobs[name]
                part = part if weight == 1 else weight * part
                loss = part if loss is None else loss + part
        return loss

    def _bottoms(self, node: Node, blobs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        instead = self.bottoms_of.get(node.name, {})
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
