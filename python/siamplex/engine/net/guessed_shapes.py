"""Shapes in place of those that only a missing source would tell: tried until a net can be built with them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from siamplex.engine.net.layer import LayerSpec, Shape
from siamplex.engine.net.layer_types import create
from siamplex.engine.net.missing_sources import Source
from siamplex.errors import PrototxtError
from siamplex.schema import messages

_CHANNELS = (3, 1, 2, 6, 4)
_SIZES = (*((n, n) for n in (227, 28, 256, 32, 64, 128, 512)), (360, 480), (96, 96), (500, 500), (1, 1))
_SAMPLES = frozenset({"Convolution", "Deconvolution", "Pooling", "LRN", "InnerProduct", "BatchNorm", "Crop", "Im2col"})
_SCORED = frozenset({"SoftmaxWithLoss", "Accuracy", "InfogainLoss", "HingeLoss", "MultinomialLogisticLoss"})
_ALIKE = frozenset({"EuclideanLoss", "SigmoidCrossEntropyLoss", "Eltwise", "Concat"})
_RECURRENT = frozenset({"LSTM", "RNN"})
_FRAMES, _SEQUENCES, _INPUTS = 16, 16, 64  # of a further axis; of a recurrent layer's batch, and of its inputs
_LABEL = "one label a sample"
_REPAIRS = 6  # corrections of one guess by shapes that later layers need


@dataclass(frozen=True)
class Assumed:
    """A blob whose shape no file determines: the layer that would load it, the shape assumed, and why."""

    layer: str
    blob: str
    shape: Shape
    why: str


def candidates(
    sources: Sequence[Source], specs: Sequence[tuple[int, LayerSpec]]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Channels and image sizes to try, first those that a Slice of the samples needs."""
    tops = {top for one in sources for top in one.tops if not one.seems_labels(top)}
    wanted: list[int] = []
    for _, spec in specs:
        if spec.type == "Slice" and spec.message.bottom and spec.message.bottom[0] in tops:
            points, count = list(spec.message.slice_param.slice_point), len(spec.message.top)
            if points:
                wanted += [2 * points[-1] - (points[-2] if len(points) > 1 else 0), points[-1] + 1, points[-1] + 3]
            else:
                wanted += [3 * count, count]
    channels = list(dict.fromkeys([*wanted, *_CHANNELS]))
    if all(one.channels for one in sources):
        channels = channels[:1]
    sizes = _SIZES[:1] if all(one.size for one in sources) else _SIZES
    for size in sizes:
        for count in channels:
            yield count, size


class Guesses:
    """Guessed shapes of the tops of missing sources; each is fixed when a layer first reads it."""

    def __init__(
        self, sources: Sequence[Source], given: Mapping[str, Shape], channels: int, size: tuple[int, int],
        sequences: bool = False,
    ) -> None:  # fmt: skip
        """``sequences`` says that the net has recurrent layers, so that batches are of T steps."""
        self._sources, self._channels, self._size, self._sequences = sources, channels, size, sequences
        self._by_top = {top: one for one in sources for top in one.tops}
        self.shapes: dict[str, Shape] = {top: given[top] for top in self._by_top if top in given}
        self._why: dict[str, str] = dict.fromkeys(self.shapes, "given")
        self.mended: frozenset[str] = frozenset()
        for top, one in self._by_top.items():
            if top not in self.shapes and one.is_labels(top):
                self.settle(top, (one.batch,), _LABEL)

    def repaired(self, top: str, shape: Shape, why: str) -> Guesses:
        """A new guess like this one, with the shape of ``top`` fixed as well."""
        kept = {name: s for name, s in self.shapes.items() if self._why[name] == "given" or name in self.mended}
        made = Guesses(self._sources, kept, self._channels, self._size, self._sequences)
        made._why |= {name: self._why[name] for name in kept}
        made.mended = self.mended | {top}
        made.settle(top, shape, why)
        return made

    def samples(self, top: str, reader: LayerSpec | None = None) -> Shape:
        """(N, C, H, W) as the source states it, completed by this guess; with the axes that its reader slides over."""
        one = self._by_top[top]
        more = _axes_slid_over(reader) - 2 if reader and one.free else 0
        return (one.batch, one.channels or self._channels, *[_FRAMES] * max(more, 0), *(one.size or self._size))

    def settle(self, top: str, shape: Shape, why: str) -> None:
        self.shapes[top], self._why[top] = shape, why

    def settle_for(self, spec: LayerSpec, bottoms: list[Shape | None]) -> list[Shape]:
        """The bottom shapes of a layer; unknown ones are fixed by the layer's type."""
        for i, name in enumerate(str(bottom) for bottom in spec.message.bottom):
            if bottoms[i] is None:
                self._settle_one(spec, i, name, bottoms)
                bottoms = [self.shapes[str(b)] if s is None and str(b) in self.shapes else s
                           for b, s in zip(spec.message.bottom, bottoms, strict=True)]  # fmt: skip
        return [shape for shape in bottoms if shape is not None]

    def _settle_one(self, spec: LayerSpec, i: int, name: str, bottoms: list[Shape | None]) -> None:
        one = self._by_top[name]
        other = next((shape for shape in bottoms if shape is not None), None)
        needed = _needed(spec, i, other) if other is not None else None
        if spec.type == "Embed":  # a number for each
            needed = needed or ((one.batch, _SEQUENCES) if self._sequences else (one.batch,))
        elif spec.type in _RECURRENT and i < 2:  # x and cont, each of T x N
            needed = needed or ((one.batch, _SEQUENCES, _INPUTS) if i == 0 else (one.batch, _SEQUENCES))
        held = one.holds(needed) if needed is not None else None
        if held is not None:
            self.settle(name, held, _as_needed(spec))
        elif spec.type in _SAMPLES or not self.is_label(name):
            told = one.told()
            self.settle(name, self.samples(name, spec), f"{told} tell it" if one.size and one.channels else
                        f"a guess{f', but for {told}' if told else ''}")  # fmt: skip
        else:
            shape = self._label(one, spec)
            self.settle(name, shape, _LABEL if len(shape) == 1 else _as_needed(spec))

    def is_given(self, top: str) -> bool:
        """Whether the caller gave the shape of ``top``."""
        return self._why.get(top) == "given"

    def is_guess(self, top: str) -> bool:
        """Whether neither the caller nor the file determines the shape of ``top``."""
        one = self._by_top[top]
        sure = not one.free and one.counted and (one.is_labels(top) or (one.size and one.channels))
        return not (self.is_given(top) or sure)

    def other(self, top: str, shape: Shape) -> Shape | None:
        """``shape`` as the source of ``top`` may give it, where that is a guess, and not this one."""
        held = self._by_top[top].holds(shape) if self.is_guess(top) and not self._by_top[top].is_labels(top) else None
        return held if held != self.shapes.get(top) else None

    def may_be_a_column(self, top: str) -> bool:
        """Whether labels assumed as (N,) may be (N, 1) instead."""
        return len(self.shapes.get(top, ())) == 1 and self._by_top[top].free

    def is_label(self, top: str) -> bool:
        """Whether a top seems to hold labels."""
        return self._by_top[top].seems_labels(top)

    def _label(self, one: Source, spec: LayerSpec) -> Shape:
        if spec.type == "Slice":  # several in one
            points, count = list(spec.message.slice_param.slice_point), len(spec.message.top)
            return (one.batch, points[-1] + 1 if points else count)
        return (one.batch,)

    def settle_rest(self) -> None:
        """Fix the shapes of tops that nothing reads."""
        for top, one in self._by_top.items():
            if top not in self.shapes:
                shape = (one.batch,) if self.is_label(top) else self.samples(top)
                self.settle(top, shape, "no layer's shapes depend on it")

    def assumed(self, tops: Collection[str] | None = None) -> Iterator[Assumed]:
        """All shapes, or those of some tops."""
        for one in self._sources:
            for top in one.tops if tops is None else [top for top in one.tops if top in tops]:
                yield Assumed(one.spec.name, top, self.shapes[top], self._why[top])

    def put_into(self, message: Any) -> Any:
        """The net with an Input of these shapes in place of each source."""
        net = type(message)()
        net.CopyFrom(message)
        for one in self._sources:
            old, new = net.layer[one.index], messages.LayerParameter(name=one.spec.name, type="Input", top=one.tops)
            new.include.extend(old.include)
            new.exclude.extend(old.exclude)
            for top in one.tops:
                new.input_param.shape.add(dim=self.shapes[top])
            old.CopyFrom(new)
        return net


def _axes_slid_over(spec: LayerSpec) -> int:
    """The spatial axes of a convolution, as far as a kernel, stride or pad for each of them tells."""
    if spec.type not in ("Convolution", "Deconvolution"):
        return 0
    p = spec.message.convolution_param
    return max(len(p.kernel_size), len(p.stride), len(p.pad))


def _as_needed(spec: LayerSpec) -> str:
    return f"as layer '{spec.name}' ({spec.type}) needs it"


def _needed(spec: LayerSpec, i: int, other: Shape) -> Shape | None:
    """The shape that bottom ``i`` of a layer must have beside a bottom of shape ``other``; None where any fits."""
    if spec.type in _SCORED and i:
        axis = spec.message.softmax_param.axis if spec.type == "SoftmaxWithLoss" else 1
        rest = [size for at, size in enumerate(other) if at != axis % max(len(other), 1)]
        spread = math.prod(rest[1:]) > 1
        return (rest[0], 1, *rest[1:]) if spread and len(rest) > 1 else tuple(rest[:1]) or (1,)
    if spec.type in _ALIKE:
        return other
    if spec.type in _RECURRENT and i == 1:
        return other[:2]
    return other[:1] if spec.type == "ContrastiveLoss" and i == 2 else None


@dataclass(frozen=True)
class Trial:
    """What came of a guess: how many layers take it, and the error of the next one, if any.

    ``at`` is the layer that does not take its bottoms, where these are the cause; ``origins`` are the tops of missing
    sources that they are computed from.
    """

    guesses: Guesses
    reached: int
    fault: PrototxtError | None = None
    at: LayerSpec | None = None
    origins: frozenset[str] = frozenset()

    def doubtful(self) -> list[Assumed]:
        """The guesses that the fault may be due to."""
        return [one for one in self.guesses.assumed(self.origins) if self.guesses.is_guess(one.blob)]

    def certain(self) -> bool:
        """Whether the layer takes no other shapes, and says the same of most: its bottoms are not the cause."""
        if self.at is None:
            return False
        said = [_said_of(self.at, shapes) for shapes in _probes(self.at)]
        return "" not in said and said.count(str(self.fault)) >= len(said) / 2


def guess(
    sources: Sequence[Source],
    given: Mapping[str, Shape],
    channels: int,
    size: tuple[int, int],
    specs: Sequence[tuple[int, LayerSpec]],
    absent: set[int],
) -> Trial:
    """Shapes for all sources, corrected where a later layer needs others."""
    guesses = Guesses(sources, given, channels, size, any(spec.type in _RECURRENT for _, spec in specs))
    best: Trial | None = None
    for _ in range(_REPAIRS):
        trial, repair = _go_through(specs, absent, guesses)
        if best is None or trial.fault is None or trial.reached > best.reached:
            best = trial
        if trial.fault is None or repair is None:
            break
        guesses = guesses.repaired(*repair)
    assert best
    return best


_Repair = tuple[str, Shape, str]


def _repair(
    spec: LayerSpec, bottoms: Sequence[Shape], roots: Mapping[str, str], known: Mapping[str, Shape | None],
    guesses: Guesses,
) -> _Repair | None:  # fmt: skip
    """A guessed blob from which a layer's bottoms are computed, the shape that the layer needs, and why."""
    names = [str(bottom) for bottom in spec.message.bottom]
    for i in reversed(range(min(len(names), len(bottoms)))):
        root = roots.get(names[i])
        if root is None or guesses.is_given(root):
            continue
        for j, other in enumerate(bottoms):
            if j != i and roots.get(names[j]) != root:
                needed = _needed(spec, i, other)
                shape = guesses.other(root, _unflattened(needed, known)) if needed is not None else None
                if shape is not None:
                    return root, shape, _as_needed(spec)
        if len(names) == 1 and guesses.may_be_a_column(root):
            return root, (*guesses.shapes[root], 1), _as_needed(spec)
    return None


def _unflattened(shape: Shape, known: Mapping[str, Shape | None]) -> Shape:
    """``shape``, or that of a picture of as many values in the net, as the output of an autoencoder is one."""
    alike = [
        other
        for other in known.values()
        if other and len(other) == 4 and other[:1] == shape[:1] and math.prod(other) == math.prod(shape)
    ]
    spread = [other for other in alike if math.prod(other[2:]) > 1]
    return spread[-1] if len(shape) == 2 and spread else shape


def _go_through(
    specs: Sequence[tuple[int, LayerSpec]], absent: set[int], guesses: Guesses
) -> tuple[Trial, _Repair | None]:
    """Compute shapes layer by layer, fixing guesses on the way; returns what came of it, and a repair.

    ``roots`` maps each blob that is computed from one guessed blob alone, by layers without parameters, to that blob;
    ``origins`` each blob to all tops of missing sources that it is computed from.
    """
    known: dict[str, Shape | None] = {}
    roots: dict[str, str] = {}
    origins: dict[str, frozenset[str]] = {}
    for number, (index, spec) in enumerate(specs):
        tops, names = ([str(name) for name in names] for names in (spec.message.top, spec.message.bottom))
        if index in absent:
            known.update({top: guesses.shapes.get(top) for top in tops})
            roots.update({top: top for top in tops})
            origins.update({top: frozenset({top}) for top in tops})
            continue
        if spec.type == "Silence":  # accepts any shape; another reader may determine it
            continue
        try:
            layer = create(spec)
        except PrototxtError as error:
            return Trial(guesses, number, error), None
        if any(name not in known for name in names):
            break  # the net says so
        bottoms = guesses.settle_for(spec, [known[name] for name in names])
        known.update({name: guesses.shapes[name] for name in names if known[name] is None})
        read = frozenset[str]().union(*(origins[name] for name in names))
        try:
            shapes = layer.setup(bottoms)
        except (PrototxtError, IndexError, ValueError, ZeroDivisionError) as error:
            trial = Trial(guesses, number, _as_fault(spec, bottoms, error), spec, read)
            return trial, _repair(spec, bottoms, roots, known, guesses)
        for top in tops:
            roots.pop(top, None) if top not in names else None
            origins[top] = read
        if len(names) == 1 and names[0] in roots and not layer.blobs:
            roots.update(dict.fromkeys(tops, roots[names[0]]))
        known.update(zip(tops, shapes, strict=False))
    guesses.settle_rest()
    return Trial(guesses, len(specs)), None


def _as_fault(spec: LayerSpec, bottoms: Sequence[Shape], error: Exception) -> PrototxtError:
    """The error of a layer that does not take its bottoms, in words where it has none."""
    if isinstance(error, PrototxtError):
        return error
    return spec.error(f"takes no bottoms of shapes {', '.join(map(str, bottoms))}", "bottom", 0)


# of any number of axes and values; the first is that of labels
_SHAPES = ((7,), (7, 1), (7, 12), (7, 5, 9), (7, 3, 40, 40), (7, 1, 300, 200), (7, 64, 1, 1), (7, 2, 6, 5, 8))


def _probes(spec: LayerSpec) -> Iterator[list[Shape]]:
    """Shapes of a layer's bottoms to try: all alike, and labels beside the first."""
    count = len(spec.message.bottom)
    for shape in _SHAPES:
        yield [shape] * count
        yield [shape, *[_SHAPES[0]] * (count - 1)]


def _said_of(spec: LayerSpec, bottoms: list[Shape]) -> str:
    """What a layer says of bottoms of these shapes; nothing if it takes them."""
    try:
        create(spec).setup(bottoms)
    except (PrototxtError, IndexError, ValueError, ZeroDivisionError) as error:
        return str(_as_fault(spec, bottoms, error))
    return ""
