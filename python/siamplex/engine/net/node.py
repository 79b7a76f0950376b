"""Nodes and parameters of a net: a node is one layer with its bottoms, tops and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from siamplex.engine.net.layer import Layer, Shape
from siamplex.engine.net.overwritten import Overwritten


@dataclass
class Parameter:
    """A parameter: the layer and blob index that own it, its learning rate and decay multipliers, its values.

    ``tensor`` is float32 on the net's device; it requires a gradient unless ``lr_mult`` is 0.
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
    by_factors: bool = True  # whether all its readers are plain InnerProducts

    def is_of(self, layer: str, index: int) -> bool:
        """Whether the layer owns this as its array ``index`` (and does not borrow it)."""
        return self.layer == layer and self.index == index

    @property
    def label(self) -> str:
        """Its name in messages: ``fc4[0]``."""
        return f"{self.layer}[{self.index}]"


@dataclass
class Node:
    """One layer in a net: its bottoms, tops, parameters and loss weights.

    ``views`` are the shapes, by blob index, in which it uses parameters whose owner has another shape (share_mode
    PERMISSIVE).  ``bottom_shapes`` are those it is set up for, ``top_shapes`` those that its setup returned.
    """

    layer: Layer
    bottoms: list[str]
    tops: list[str]
    params: list[Parameter]
    loss_weights: list[float]
    propagate: list[bool]
    train: bool
    bottom_shapes: list[Shape] = field(default_factory=list)
    top_shapes: list[Shape] = field(default_factory=list)
    views: dict[int, Shape] = field(default_factory=dict)
    overwritten: Overwritten | None = None

    @cached_property
    def name(self) -> str:
        """The layer's name, made unique in the net."""
        return self.layer.spec.key

    @property
    def plain(self) -> bool:
        """Whether the layer depends on its bottoms and parameters alone, so that it may run outside the net."""
        return not self.views and self.overwritten is None

    @property
    def owns(self) -> bool:
        """Whether it owns any of its parameters."""
        return any(p.layer == self.name for p in self.params)

    def tensors(self) -> list[torch.Tensor]:
        """The parameters in the shapes the layer expects."""
        if not self.views:
            return [p.tensor for p in self.params]
        return [p.tensor.view(self.views.get(i, p.tensor.shape)) for i, p in enumerate(self.params)]


def set_up(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    """Set a layer up for bottoms of these shapes; returns those of its tops.  Raises PrototxtError for wrong ones."""
    try:
        return layer.setup(bottoms)
    except (IndexError, ValueError, ZeroDivisionError):  # too few axes, or none of a size it divides by
        what = f"takes no bottoms of shapes {', '.join(map(str, bottoms))}"
        raise layer.spec.error(what, "bottom", 0) from None


def takes_factors(node: Node) -> bool:
    """Whether a layer keeps its weight's gradient as factors, where the update asks for that."""
    return node.layer.takes_factors and not node.views
