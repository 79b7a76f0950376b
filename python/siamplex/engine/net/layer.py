"""The base class of layers (read settings, set up shapes, forward) and the registry of types by Caffe's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch

from siamplex.engine.net.kernels import Kernels
from siamplex.errors import PrototxtError
from siamplex.schema import messages
from siamplex.schema.extensions import Fields, settings
from siamplex.schema.prototxt import Prototxt

Shape = tuple[int, ...]
Rows = TypeVar("Rows", bound=Any)


@dataclass(frozen=True)
class Share:
    """The rows of each batch that this process computes: part ``rank`` of ``size`` even parts."""

    rank: int = 0
    size: int = 1

    def of(self, rows: Rows) -> Rows:
        """This process's part of a sequence, array or tensor along its first axis."""
        count = len(rows) // self.size
        part: Rows = rows[self.rank * count : (self.rank + 1) * count]
        return part


ALL = Share()


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a prototxt: its message, its place in the file, and the share of each batch that it computes.

    ``twin`` is the number of earlier layers with the same name; Caffe allows several layers of one name.  ``train``
    says that the layer runs in phase TRAIN: its own phase, or else the net's.
    """

    message: Any
    source: Prototxt
    path: tuple[str | int, ...]
    share: Share = ALL
    twin: int = 0
    train: bool = True

    @cached_property
    def name(self) -> str:
        return str(self.message.name)

    @cached_property
    def key(self) -> str:
        """The name, followed by a number if it is not the first layer of this name."""
        return f"{self.name}#{self.twin + 1}" if self.twin else self.name

    @property
    def type(self) -> str:
        return str(self.message.type)

    @property
    def in_place(self) -> bool:
        """Whether its first top is its first bottom."""
        return self.message.bottom[:1] == self.message.top[:1] != []

    def error(self, what: str, *field: str | int) -> PrototxtError:
        """A PrototxtError at this layer, or at one of its fields."""
        return self.source.error(f"layer '{self.name}' ({self.type}): {what}", *self.path, *field)


@dataclass
class Context:
    """The context of a forward pass: phase, seed, iteration, pass within the iteration.

    ``kernels`` are faster implementations of single operations; None means torch's.
    """

    train: bool
    seed: int = 0
    iteration: int = 0
    sub_pass: int = 0
    kernels: Kernels | None = None


@dataclass
class BlobSpec:
    """The specification of a layer's parameter: shape and filler (a FillerParameter).

    ``learns`` is False for statistics, which forward passes change and gradients do not.
    """

    shape: Shape
    filler: Any
    learns: bool = True


@dataclass
class Layer:
    """Base of every layer type.

    Subclasses set ``param_field`` (the name of their message in LayerParameter) and ``supported`` (the
    fields of it that they implement); any other field that is set is refused by name and line.  Messages of
    other layer types have no effect, as in Caffe.
    """

    spec: LayerSpec
    blobs: list[BlobSpec] = field(default_factory=list)
    # what a reader of the prototxt may not expect, each with its line
    notes: list[str] = field(default_factory=list)
    # set by the net where a later layer writes over what the backward pass reads
    overwritten: object | None = None

    param_field: ClassVar[str | None] = None
    supported: ClassVar[frozenset[str]] = frozenset()
    # of a plug-in: the parameter message that Caffe has not
    declares: ClassVar[Fields | None] = None
    bottom_count: ClassVar[tuple[int, int]] = (1, 1)
    top_count: ClassVar[tuple[int, int]] = (1, 1)
    # as many tops as bottoms
    paired: ClassVar[bool] = False
    # whether a top may have the name of the bottom at the same index
    in_place: ClassVar[bool] = True
    why_not_in_place: ClassVar[str] = ""
    is_loss: ClassVar[bool] = False
    # whether a loss_weight of a top has an effect
    weighs: ClassVar[bool] = True
    # bottoms that a net's force_backward does not reach (AllowForceBackward in Caffe)
    unforced: ClassVar[frozenset[int]] = frozenset()
    # What Caffe's backward pass reads: "bottom", "top" or both.  own_bottom: what a layer that works in place finds as
    # its bottom: its top, so that the bottom is lost ("lost"), its top, which serves as well ("signs"), or a copy
    # ("copied").  harmless_behind: layer types that may follow in place without changing the backward pass
    backward_reads: ClassVar[frozenset[str]] = frozenset()
    own_bottom: ClassVar[str] = "lost"
    harmless_behind: ClassVar[frozenset[str]] = frozenset()
    # Whether its weight's gradient can be kept as factors: the layer is a plain product of rows and weight.
    takes_factors: ClassVar[bool] = False
    # Row n of every top depends on row n of the bottoms alone, with nothing random on the way.
    per_sample: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._refuse_unsupported()
        self._check_count("bottom", self.bottom_count)
        if not (self.is_loss and not self.spec.message.top):
            self._check_count("top", self.top_count)
        bottoms, tops = self.spec.message.bottom, self.spec.message.top
        if self.paired and len(bottoms) != len(tops):
            raise self.spec.error(f"{len(bottoms)} bottoms with {len(tops)} tops", "top", 0)
        if not self.in_place and any(a == b for a, b in zip(bottoms, tops, strict=False)):
            why = f" ({self.why_not_in_place})" if self.why_not_in_place else ""
            raise self.spec.error(f"works not in place{why}: give its top another name than its bottom's", "top", 0)
        self.configure()

    # --- for subclasses

    def configure(self) -> None:
        """Read settings from ``self.params``; raise ``self.spec.error`` on a bad value."""

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Check bottom shapes, fill ``self.blobs``, return top shapes.

        May be called again with other shapes (:mod:`~siamplex.engine.net.reshaping`), ``self.blobs`` being empty.
        """
        raise NotImplementedError

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        """Compute the tops."""
        raise NotImplementedError

    # --- shared checks

    @property
    def params(self) -> Any:
        """The layer's own settings message, with Caffe's defaults."""
        return settings(self.spec.message, self.param_field) if self.param_field else None

    def require(self, holds: bool, what: str, *field: str | int) -> None:
        """Raise at ``field`` of the layer's settings unless ``holds``."""
        if not holds:
            inside = (self.param_field, 0, *field) if self.param_field else field
            raise self.spec.error(what, *inside)

    def note(self, what: str, *field: str | int) -> None:
        """Add a remark on a field of the layer's settings to the log."""
        inside = (self.param_field, 0, *field) if self.param_field else field
        self.notes.append(str(self.spec.error(what, *inside)))

    def _refuse_unsupported(self) -> None:
        if not self.param_field:
            return
        for descriptor, _ in self.params.ListFields():
            if descriptor.name not in self.supported:
                raise self.spec.error(
                    f"field '{descriptor.name}' is not supported",
                    self.param_field,
                    0,
                    descriptor.name,
                    0,
                )

    def _check_count(self, kind: str, limits: tuple[int, int]) -> None:
        count = len(getattr(self.spec.message, kind))
        low, high = limits
        if not low <= count <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            raise self.spec.error(f"expected {wanted} {kind}s, found {count}", kind, 0)

    def canonical_axis(self, axis: int, rank: int, *field: str | int) -> int:
        """Caffe's axis index: negative counts from the end."""
        self.require(-rank <= axis < rank, f"axis {axis} of a blob with {rank} axes", *field)
        return axis % rank


LAYERS: dict[str, type[Layer]] = {}  # by Caffe's type name; importing siamplex.engine.layers fills it
L = TypeVar("L", bound=type[Layer])


def register(type_name: str) -> Callable[[L], L]:
    """Class decorator: register a Layer under Caffe's type name."""

    def add(cls: L) -> L:
        LAYERS[type_name] = cls
        return cls

    return add


class _NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, x: torch.Tensor, refusal: PrototxtError) -> torch.Tensor:
        ctx.refusal = refusal
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise ctx.refusal


def no_gradient(y: torch.Tensor, x: torch.Tensor, spec: LayerSpec, what: str) -> torch.Tensor:
    """``y``, computed from ``x`` by an operation without a gradient: a backward pass through it raises PrototxtError.

    Caffe stops there as well.  If nothing before ``x`` learns, this returns ``y`` itself.
    """
    if not (x.requires_grad and torch.is_grad_enabled()):
        return y
    result: torch.Tensor = _NoGradient.apply(y, x, spec.error(what))
    return result


def filler(kind: str = "constant", **settings: float) -> Any:
    """A default FillerParameter, for layers whose prototxt has none."""
    return messages.FillerParameter(type=kind, **settings)
