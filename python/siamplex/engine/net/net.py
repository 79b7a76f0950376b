"""A net: the layers of a prototxt that belong to one phase, run in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from siamplex.engine.net import arrays
from siamplex.engine.net.carrying import carrying, shared_notes
from siamplex.engine.net.layer import ALL, Context, Shape, Share
from siamplex.engine.net.node import Node, Parameter
from siamplex.engine.net.phase import net_state
from siamplex.engine.net.reshaping import Reshaping
from siamplex.engine.net.stand_ins import StandIns
from siamplex.engine.net.unfilled import OPTION, Unfilled, refusal, unfilled
from siamplex.engine.net.wiring import Wiring
from siamplex.errors import PrototxtError
from siamplex.schema.blobs import Array
from siamplex.schema.prototxt import Prototxt


class Net:
    """Builds and runs a NetParameter as Caffe does.

    ``message_path`` is the path to the NetParameter inside ``source`` (empty for a net's own file); :attr:`message` is
    that NetParameter.  With ``shapes_only`` parameters have shapes but no values, and there is no memory limit.
    Parameters in ``hollow``, by layer and index, have a shape but no memory, since a plan replaces every layer that
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
        shapes_only: bool = False,
        hollow: Collection[tuple[str, int]] = (),
    ) -> None:
        self.source, self.phase, self.seed = source, phase, seed
        self.device = torch.device(device)
        self.message = source.message if message is None else message
        self.name = str(self.message.name)
        self._path = message_path
        self._state = net_state(phase, self.message.state, *([state] if state is not None else []))
        theirs: list[Node] = share_with.nodes if share_with else []
        their_phase: str = share_with.phase if share_with else ""
        self._wiring = wiring = Wiring(
            self.message, source, message_path, phase, self._state, seed, self.device, share, shapes_only,
            theirs, their_phase, hollow,
        )  # fmt: skip
        self.nodes: list[Node] = wiring.nodes
        self.parameters: list[Parameter] = wiring.parameters
        self.shapes: dict[str, Shape] = wiring.shapes
        self.inputs, self.outputs = wiring.inputs, wiring.outputs
        self.filled: set[str] = set()  # layers that weights were loaded into
        self.stand_ins = StandIns()
        self.reshaping = Reshaping.of(self.nodes, self.shapes, wiring.budget)
        self._kept: tuple[int, list[Node]] = (0, [])

    # --- weights

    def load(self, weights: Mapping[str, Sequence[Array]], path: object, own: bool = False) -> list[str]:
        """Copy arrays into the layers of the same names (:func:`~siamplex.engine.net.arrays.load`)."""
        filled = arrays.load(self.nodes, weights, path, own)
        self.filled.update(filled)
        return filled

    def owned(self) -> Iterable[tuple[Any, list[Array]]]:
        """(LayerParameter, arrays) of every layer that owns its arrays, for a caffemodel."""
        return arrays.owned(self.nodes, self.phase)

    def unfilled(self, learning: bool = True, elsewhere: Iterable[str] = ()) -> list[Unfilled]:
        """Layers that keep their fillers' values although they must not, after the files loaded so far.

        Layers ``elsewhere`` get their arrays from another net (:func:`~siamplex.engine.net.unfilled.unfilled`).
        """
        return unfilled(self.message, self._state, {*self.filled, *elsewhere}, learning)

    def refuse_unfilled(
        self, found: Sequence[Unfilled], given: Sequence[object], option: str = OPTION, hint: str = ""
    ) -> PrototxtError:
        """The error for :meth:`unfilled` layers; ``given`` are the files that were loaded."""
        return refusal(self.source, self._path, found, given, option, hint)

    # --- running

    @property
    def notes(self) -> list[str]:
        """Remarks on the prototxt, for the log."""
        return [*(note for node in self.nodes for note in node.layer.notes), *shared_notes(self.nodes)]

    def node(self, name: str) -> Node:
        """The node of a layer's name."""
        return next(node for node in self.nodes if node.name == name)

    def learn(self) -> None:
        """Require gradients of the parameters that learn."""
        for parameter in self.parameters:
            parameter.tensor.requires_grad_(parameter.lr_mult != 0)

    def forward(
        self,
        context: Context,
        given: Mapping[str, torch.Tensor] | None = None,
        until: str | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Run the layers; return the weighted loss (a scalar) and the blobs by name.

        ``given`` holds the values of inputs, or of any other blob, whose layer is then skipped.
        With ``until`` the pass ends once that blob has its final value.
        """
        blobs: dict[str, torch.Tensor] = {k: v.to(self.device) for k, v in (given or {}).items()}
        loss: torch.Tensor | None = None
        last = self._last_writer(until) if until else None
        contexts = {train: replace(context, train=train) for train in (True, False)}
        if self._wiring.arrays.marked:
            self._wiring.arrays.begin()
        for node in self._to_run(whole=last is not None):
            if given and self._is_given(node, given):
                if self.reshaping:
                    self.reshaping.came_out(node, [blobs[top] for top in node.tops if top in blobs], given=True)
            elif node.name not in self.stand_ins.skipped:
                part = self._run(node, blobs, contexts[node.train])
                loss = part if loss is None else loss if part is None else loss + part
            if node is last:
                break
        if self._wiring.arrays.marked:
            for _, layer in carrying(self.nodes):
                layer.after_pass()
        return torch.zeros((), device=self.device) if loss is None else loss, blobs

    def _is_given(self, node: Node, given: Mapping[str, torch.Tensor]) -> bool:
        """Whether the caller gave a node's tops; one is enough for inputs, as a net need not read all of them.

        Given values of an input are those before any layer that works on it in place.
        """
        if node.layer.spec.type == "Input":
            return any(top in given for top in node.tops)
        return bool(node.tops) and all(top in given and top not in self.inputs for top in node.tops)

    def _to_run(self, whole: bool) -> list[Node]:
        """The nodes to run, in order; without ``whole`` those that a plan skips are left out."""
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
            if self.reshaping:
                self.reshaping.fit(node)
            if node.overwritten:
                with node.overwritten as kept:
                    tops = node.layer.forward(bottoms, node.tensors(), context)
                kept.watch(bottoms, "bottom")
                kept.watch(tops, "top")
            else:
                tops = node.layer.forward(bottoms, node.tensors(), context)
            if self.reshaping:
                self.reshaping.came_out(node, tops)
        loss: torch.Tensor | None = None
        for name, top, weight in zip(node.tops, tops, node.loss_weights, strict=True):
            blobs[name] = top.to(self.device)
            self._wiring.arrays.wrote(node, name, blobs[name])
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
