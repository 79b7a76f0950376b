"""The outline of a net: it is built with shapes only, without values and without its databases.

Where the source of a data layer is missing, an Input takes the layer's place.  Its shapes come from, in this order:
the caller; the file (``crop_size``, ``new_height``, mean values); the layer that reads the blob (as many labels as its
other bottom has samples); the first of some common shapes with which the net can be built.  The result lists what was
assumed, and why.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from siamplex.engine.net.layer import Layer, LayerSpec, Shape
from siamplex.engine.net.layer_types import create
from siamplex.engine.net.net import Net
from siamplex.engine.net.phase import included, net_state, trains
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import messages
from siamplex.schema.prototxt import Prototxt

# layers that read files: their settings message, and the field that names the source
SOURCES = {
    "Data": ("data_param", "source"),
    "ImageData": ("image_data_param", "source"),
    "HDF5Data": ("hdf5_data_param", "source"),
    "WindowData": ("window_data_param", "source"),
}
_CHANNELS = (3, 1, 2, 6, 4)
_SIZES = (*((n, n) for n in (227, 28, 256, 32, 64, 128, 512)), (360, 480), (96, 96), (500, 500), (1, 1))
_SECONDS = 10.0  # time limit of the search for shapes
_LABELS = ("label", "lab", "target", "gt", "sim", "truth", "class", "cont", "weight", "mask")
_SAMPLES = frozenset({"Convolution", "Deconvolution", "Pooling", "LRN", "InnerProduct", "BatchNorm", "Crop", "Im2col"})
_SCORED = frozenset({"SoftmaxWithLoss", "Accuracy", "InfogainLoss", "HingeLoss", "MultinomialLogisticLoss"})
_ALIKE = frozenset({"EuclideanLoss", "SigmoidCrossEntropyLoss", "Eltwise", "Concat"})
_REPAIRS = 6  # corrections of one guess by shapes that later layers need


@dataclass(frozen=True)
class Assumed:
    """A blob whose shape no file determines: the layer that would load it, the shape assumed, and why."""

    layer: str
    blob: str
    shape: Shape
    why: str


@dataclass(frozen=True)
class Outline:
    """A net of shapes; ``missing`` says for each layer which source is missing.

    ``types`` are the file's types, by name, of layers that were replaced; ``message`` is the net with the replacements.
    """

    net: Net
    message: Any
    assumed: tuple[Assumed, ...] = ()
    missing: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    """A layer whose source is missing: its place, its batch size, and what it states of channels and image size."""

    index: int
    spec: LayerSpec
    missing: str
    batch: int
    channels: int | None
    size: tuple[int, int] | None

    @property
    def tops(self) -> list[str]:
        return [str(top) for top in self.spec.message.top]

    def told(self) -> str:
        """The part of the shape that the file states, in words."""
        p = self.spec.message.transform_param
        words = ["crop_size" if p.crop_size else "new_height and new_width"] if self.size else []
        return " and ".join([*words, *(["mean values or colour"] if self.channels else [])])


def outline(
    source: Prototxt,
    phase: str,
    *,
    message: Any = None,
    path: tuple[str | int, ...] = (),
    state: Any = None,
    given: Mapping[str, Shape] | None = None,
    most_samples: int | None = None,
) -> Outline:
    """The outline of a net in a phase; ``given`` are shapes of blobs that come from sources or inputs.

    ``most_samples`` limits the batch size of missing sources.

    Raises PrototxtError for a net that cannot be built, whatever its sources hold.
    """
    message = source.message if message is None else message
    given = dict(given or {})
    full = net_state(phase, message.state, *([state] if state is not None else []))
    specs = [
        (i, LayerSpec(layer, source, (*path, "layer", i), train=trains(layer, phase)))
        for i, layer in enumerate(message.layer)
    ]
    specs = [(i, spec) for i, spec in specs if included(spec.message, full)]
    sources = [found for i, spec in specs if (found := _missing(i, spec))]
    if most_samples:
        sources = [replace(one, batch=min(one.batch, most_samples)) for one in sources]
    absent = {one.index for one in sources}
    _check_given(source, given, specs, absent)
    changed = _without_files(message, specs, given)

    def build(net: Any) -> Net:
        return Net(source, phase, message=net, message_path=path, state=state, shapes_only=True)

    types = {str(new.name): str(old.type) for old, new in zip(message.layer, changed.layer, strict=True)
             if old.type != new.type}  # fmt: skip
    if not sources:
        return Outline(build(changed), changed, (), (), types)
    types |= {one.spec.name: one.spec.type for one in sources}
    missing = tuple(one.missing for one in sources)
    specs = [(i, replace(spec, message=changed.layer[i])) for i, spec in specs]
    first: PrototxtError | None = None
    furthest, same = -1, 0
    until = time.monotonic() + _SECONDS
    for channels, size in _candidates(sources, specs):
        try:
            guesses, reached, fault = _guess(sources, given, channels, size, specs, absent)
            whole = guesses.put_into(changed) if fault is None else None
            net = build(whole) if whole is not None else None
            if net is not None:
                return Outline(net, whole, tuple(guesses.assumed()), missing, types)
        except PrototxtError as error:  # of the net as a whole
            reached, fault = len(specs), error
        assert fault
        same = same + 1 if first is not None and str(fault) == str(first) else 0
        if reached > furthest:
            first, furthest = fault, reached
        if same >= 8 or time.monotonic() > until:  # the shapes are not the cause
            break
    assert first
    raise first


def _missing(index: int, spec: LayerSpec) -> _Source | None:
    """The layer's :class:`_Source` if its source is missing; None for any other layer."""
    if spec.type not in SOURCES:
        return None
    param, name_field = SOURCES[spec.type]
    p, transform = getattr(spec.message, param), spec.message.transform_param
    name, mean = str(getattr(p, name_field)), str(transform.mean_file)
    lost = [said for file in (name, mean) if file and (said := _lost(spec.source, file))]
    told = bool(name) and (p.HasField("batch_size") or spec.type not in ("Data", "HDF5Data"))
    if not told:  # a program fills it in, as DIGITS does
        lost.insert(0, "it states no batch_size" if name else "it names no source")
    try:
        if told:
            layer = create(spec)  # its settings are looked at all the same
            if not lost:
                layer.setup([])
                return None
    except PrototxtError as error:
        if not any(f"'{file}'" in str(error) for file in (name, mean) if file):  # a fault of the settings
            raise
        lost = lost or [str(error)]
    except InputError as error:  # one of the files that what it names does name
        lost = [str(error)]
    said = f"layer '{spec.name}' ({spec.type}): {'; '.join(lost)}"
    channels = len(transform.mean_value) if len(transform.mean_value) > 1 else None
    if transform.force_gray or (spec.type == "ImageData" and not p.is_color):
        channels = 1
    elif transform.force_color or spec.type in ("ImageData", "WindowData"):
        channels = 3
    crop = int(transform.crop_size)
    size = (crop, crop) if crop else None
    if size is None and spec.type == "ImageData" and p.new_height and p.new_width:
        size = int(p.new_height), int(p.new_width)
    return _Source(index, spec, said, max(int(p.batch_size), 1), channels, size)


def _lost(source: Prototxt, name: str) -> str | None:
    """The error text for a path that is missing or not allowed; None for one that exists."""
    try:
        return None if source.find(name).exists() else f"{name} is not there"
    except (OSError, ValueError):
        return f"{name} is no path"
    except InputError:
        return f"{name} lies elsewhere, and is not looked at"


def _check_given(
    source: Prototxt, given: Mapping[str, Shape], specs: Sequence[tuple[int, LayerSpec]], absent: set[int]
) -> None:
    """Refuse a given shape for a blob that is not an input."""
    takes = [top for i, spec in specs if i in absent or spec.type == "Input" for top in spec.message.top]
    for blob in given:
        if blob not in takes:
            raise source.error(
                f"no input or missing source has the top '{blob}' (these have: {', '.join(takes) or '-'})"
            )


def _without_files(message: Any, specs: Sequence[tuple[int, LayerSpec]], given: Mapping[str, Shape]) -> Any:
    """The net with the given shapes of its inputs, and without the files that its losses read."""
    net = type(message)()
    net.CopyFrom(message)
    for index, spec in specs:
        layer = net.layer[index]
        if spec.type == "Input" and any(top in given for top in layer.top):
            count, told = len(layer.top), [list(shape.dim) for shape in layer.input_param.shape]
            told = told * count if len(told) == 1 else told
            layer.input_param.ClearField("shape")
            for i, top in enumerate(layer.top):
                layer.input_param.shape.add(dim=given.get(top, told[i] if i < len(told) else ()))
        name = str(layer.infogain_loss_param.source)
        if spec.type == "InfogainLoss" and len(layer.bottom) == 2 and _lost(spec.source, name):
            layer.type = "SoftmaxWithLoss"  # has the same shapes and reads no matrix
            layer.softmax_param.axis = layer.infogain_loss_param.axis
    return net


def _candidates(
    sources: Sequence[_Source], specs: Sequence[tuple[int, LayerSpec]]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Channels and image sizes to try, first those that a Slice of the samples needs."""
    tops = {top for one in sources for top in one.tops}
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


class _Guesses:
    """Guessed shapes of the tops of missing sources; each is fixed when a layer first reads it."""

    def __init__(
        self, sources: Sequence[_Source], given: Mapping[str, Shape], channels: int, size: tuple[int, int]
    ) -> None:
        self._sources, self._channels, self._size = sources, channels, size
        self._by_top = {top: one for one in sources for top in one.tops}
        self.shapes: dict[str, Shape] = {top: given[top] for top in self._by_top if top in given}
        self._why: dict[str, str] = dict.fromkeys(self.shapes, "given")
        self.mended: frozenset[str] = frozenset()

    def repaired(self, top: str, shape: Shape, why: str) -> _Guesses:
        """A new guess like this one, with the shape of ``top`` fixed as well."""
        kept = {name: s for name, s in self.shapes.items() if self._why[name] == "given" or name in self.mended}
        made = _Guesses(self._sources, kept, self._channels, self._size)
        made._why |= {name: self._why[name] for name in kept}
        made.mended = self.mended | {top}
        made.settle(top, shape, why)
        return made

    def samples(self, top: str) -> Shape:
        """(N, C, H, W) as the source states it, completed by this guess."""
        one = self._by_top[top]
        return (one.batch, one.channels or self._channels, *(one.size or self._size))

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
        if needed is not None:
            self.settle(name, needed, _as_needed(spec))
        elif spec.type in _SAMPLES or not self._is_label(one, name):
            told = one.told()
            self.settle(name, self.samples(name), f"{told} tell it" if one.size and one.channels else
                        f"a guess{f', but for {told}' if told else ''}")  # fmt: skip
        else:
            self.settle(name, self._label(one, spec), "one label a sample")

    def is_given(self, top: str) -> bool:
        """Whether the caller gave the shape of ``top``."""
        return self._why.get(top) == "given"

    def may_be_a_column(self, top: str) -> bool:
        """Whether labels assumed as (N,) may be (N, 1) instead."""
        return len(self.shapes.get(top, ())) == 1 and self._by_top[top].spec.type == "HDF5Data"

    def is_label(self, top: str) -> bool:
        """Whether a top seems to hold labels."""
        return self._is_label(self._by_top[top], top)

    def _is_label(self, one: _Source, name: str) -> bool:
        if one.spec.type != "HDF5Data":
            return one.tops.index(name) > 0
        return any(word in name.lower() for word in _LABELS)

    def _label(self, one: _Source, spec: LayerSpec) -> Shape:
        if spec.type == "Slice":  # several in one
            points, count = list(spec.message.slice_param.slice_point), len(spec.message.top)
            return (one.batch, points[-1] + 1 if points else count)
        return (one.batch,)

    def settle_rest(self) -> None:
        """Fix the shapes of tops that nothing reads."""
        for top, one in self._by_top.items():
            if top not in self.shapes:
                shape = (one.batch,) if self._is_label(one, top) else self.samples(top)
                self.settle(top, shape, "nothing reads it")

    def assumed(self) -> Iterator[Assumed]:
        for one in self._sources:
            for top in one.tops:
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
    return other[:1] if spec.type == "ContrastiveLoss" and i == 2 else None


def _guess(
    sources: Sequence[_Source],
    given: Mapping[str, Shape],
    channels: int,
    size: tuple[int, int],
    specs: Sequence[tuple[int, LayerSpec]],
    absent: set[int],
) -> tuple[_Guesses, int, PrototxtError | None]:
    """Shapes for all sources, corrected where a later layer needs others; also how many layers fit, and the error."""
    guesses = _Guesses(sources, given, channels, size)
    best: tuple[_Guesses, int, PrototxtError | None] | None = None
    for _ in range(_REPAIRS):
        reached, fault, repair = _go_through(specs, absent, guesses)
        if best is None or fault is None or reached > best[1]:
            best = guesses, reached, fault
        if fault is None or repair is None:
            break
        guesses = guesses.repaired(*repair)
    assert best
    return best


_Repair = tuple[str, Shape, str]


def _repair(spec: LayerSpec, bottoms: Sequence[Shape], roots: Mapping[str, str], guesses: _Guesses) -> _Repair | None:
    """A guessed blob from which a layer's bottoms are computed, the shape that the layer needs, and why."""
    names = [str(bottom) for bottom in spec.message.bottom]
    for i in reversed(range(min(len(names), len(bottoms)))):
        root = roots.get(names[i])
        if root is None or guesses.is_given(root):
            continue
        for j, other in enumerate(bottoms):
            if j != i and roots.get(names[j]) != root:
                shape = _needed(spec, i, other)
                if shape is not None and shape != guesses.shapes.get(root):
                    return root, shape, _as_needed(spec)
        if len(names) == 1 and guesses.may_be_a_column(root):
            return root, (*guesses.shapes[root], 1), _as_needed(spec)
    return None


def _go_through(
    specs: Sequence[tuple[int, LayerSpec]], absent: set[int], guesses: _Guesses
) -> tuple[int, PrototxtError | None, _Repair | None]:
    """Compute shapes layer by layer, fixing guesses on the way; returns how far it got, the error, and a repair.

    ``roots`` maps each blob that is computed from one guessed label alone to that label.
    """
    known: dict[str, Shape | None] = {}
    roots: dict[str, str] = {}
    for number, (index, spec) in enumerate(specs):
        if index in absent:
            known.update({str(top): guesses.shapes.get(str(top)) for top in spec.message.top})
            roots.update({str(top): str(top) for top in spec.message.top if guesses.is_label(str(top))})
            continue
        layer: Layer | None = None
        bottoms: list[Shape] = []
        if spec.type == "Silence":  # accepts any shape; another reader may determine it
            continue
        try:
            layer = create(spec)
            names = [str(bottom) for bottom in spec.message.bottom]
            if any(name not in known for name in names):
                break  # the net says so
            bottoms = guesses.settle_for(spec, [known[name] for name in names])
            known.update({name: guesses.shapes[name] for name in names if known[name] is None})
            shapes = layer.setup(bottoms)
        except PrototxtError as error:
            return number, error, _repair(spec, bottoms, roots, guesses)
        except (IndexError, ValueError, ZeroDivisionError):
            fault = spec.error(f"takes no bottoms of shapes {', '.join(map(str, bottoms))}", "bottom", 0)
            return number, fault, _repair(spec, bottoms, roots, guesses)
        if len(names) == 1 and names[0] in roots and not layer.blobs:
            roots.update({str(top): roots[names[0]] for top in spec.message.top})
        known.update(zip((str(top) for top in spec.message.top), shapes, strict=False))
    guesses.settle_rest()
    return len(specs), None, None


def sources_named(path: Path, found: Outline) -> list[str]:
    """Messages on what is missing and what was assumed, and how to give the shapes."""
    lines = [f"{path}: {text}" for text in found.missing]
    for one in found.assumed:
        shape = ",".join(map(str, one.shape))
        lines.append(f"{path}: '{one.blob}' taken as {shape}: {one.why} (--input {one.blob}={shape} gives it)")
    return lines
