"""What a layer is: read its settings, work out shapes, run.  One registry by Caffe's type name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch

from siamplex.engine.wide import WideGradients
from siamplex.errors import PrototxtError
from siamplex.schema import messages
from siamplex.schema.prototxt import Prototxt

Shape = tuple[int, ...]
Rows = TypeVar("Rows", bound=Any)

_GENERIC = frozenset("name type bottom top phase loss_weight param blobs propagate_down include exclude".split())


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
    """One layer of a prototxt: its message, where it stands, and the share of each batch it works on."""

    message: Any
    source: Prototxt
    path: tuple[str | int, ...]
    share: Share = ALL

    @cached_property
    def name(self) -> str:
        return str(self.message.name)

    @property
    def type(self) -> str:
        return str(self.message.type)

    def error(self, what: str, *field: str | int) -> PrototxtError:
        """A PrototxtError at this layer, or at one of its fields."""
        return self.source.error(f"layer '{self.name}' ({self.type}): {what}", *self.path, *field)


@dataclass
class Context:
    """What a forward pass belongs to: phase, seed, iteration, pass within the iteration.

    ``wide`` takes the gradients of wide weights as factors, where the update asks for them so.
    ``spectra`` lets a convolution go by its spectra where that is quicker.
    """

    train: bool
    seed: int = 0
    iteration: int = 0
    sub_pass: int = 0
    wide: WideGradients | None = None
    spectra: bool = False


@dataclass
class BlobSpec:
    """A layer's parameter before it exists: shape and filler (a FillerParameter)."""

    shape: Shape
    filler: Any


@dataclass
class Layer:
    """Base of every layer type.

    Subclasses state ``param_field`` (their message in LayerParameter) and ``supported`` (its
    fields they honour); anything else set in the prototxt is refused by name and line.
    """

    spec: LayerSpec
    blobs: list[BlobSpec] = field(default_factory=list)

    param_field: ClassVar[str | None] = None
    supported: ClassVar[frozenset[str]] = frozenset()
    bottom_count: ClassVar[tuple[int, int]] = (1, 1)
    top_count: ClassVar[tuple[int, int]] = (1, 1)
    is_loss: ClassVar[bool] = False
    # Row n of every top depends on row n of the bottom alone, with nothing random on the way.
    per_sample: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._refuse_unsupported()
        self._check_count("bottom", self.bottom_count)
        if not (self.is_loss and not self.spec.message.top):
            self._check_count("top", self.top_count)
        self.configure()

    # --- for subclasses

    def configure(self) -> None:
        """Read settings from ``self.params``; raise ``self.spec.error`` on a bad value."""

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Check bottom shapes, fill ``self.blobs``, return top shapes."""
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
        return getattr(self.spec.message, self.param_field) if self.param_field else None

    def require(self, holds: bool, what: str, *field: str | int) -> None:
        """Raise at ``field`` of the layer's settings unless ``holds``."""
        if not holds:
            inside = (self.param_field, 0, *field) if self.param_field else field
            raise self.spec.error(what, *inside)

    def _refuse_unsupported(self) -> None:
        allowed = _GENERIC | ({self.param_field} if self.param_field else set()) | self.extra_fields()
        for descriptor, _ in self.spec.message.ListFields():
            if descriptor.name not in allowed:
                raise self.spec.error(f"field '{descriptor.name}' does not apply", descriptor.name, 0)
        if self.param_field:
            for descriptor, _ in self.params.ListFields():
                if descriptor.name not in self.supported:
                    raise self.spec.error(
                        f"field '{descriptor.name}' is not supported",
                        self.param_field,
                        0,
                        descriptor.name,
                        0,
                    )

    def extra_fields(self) -> frozenset[str]:
        """Further LayerParameter fields this type reads."""
        return frozenset()

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


_REGISTRY: dict[str, type[Layer]] = {}
L = TypeVar("L", bound=type[Layer])


def register(type_name: str) -> Callable[[L], L]:
    """Class decorator: make a Layer known by Caffe's type name."""

    def add(cls: L) -> L:
        _REGISTRY[type_name] = cls
        return cls

    return add


def known_types() -> list[str]:
    """Type names the engine runs."""
    from siamplex.engine import layers  # noqa: F401  (importing registers)

    return sorted(_REGISTRY)


def create(spec: LayerSpec) -> Layer:
    """Make the layer a prototxt asks for; raises PrototxtError for a type not known."""
    if spec.type not in known_types():
        raise spec.source.error(
            f"layer '{spec.name}': type '{spec.type}' is not supported (known: {', '.join(known_types())})",
            *spec.path,
            "type",
            0,
        )
    return _REGISTRY[spec.type](spec)


def filler(kind: str = "constant", **settings: float) -> Any:
    """A FillerParameter, for layers whose prototxt names none."""
    return messages.FillerParameter(type=kind, **settings)
