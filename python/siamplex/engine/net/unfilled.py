"""Layers that hold what their fillers made, where that cannot have been meant.

Caffe leaves a layer that no weights file names at what its filler made, without a word.  A layer that learns begins
so.  One that never learns (lr_mult 0) ends so too: an image table of zeros shows every face blank.  The rule, by array:

- It was meant where the layer is frozen and its filler is a fixed pattern: ``bilinear``, a constant other than 0, and
  of arrays behind the first (biases) any constant: a bias of 0 adds nothing.
- It was not meant where a frozen array is random, or where a frozen layer's first array is 0, which is also what a
  prototxt without a filler asks for.
- Statistics (BatchNorm) are no parameters: training gathers them, unless ``use_global_stats`` says that it does not.
- A net that is only run forward learns nothing: its layers must all be filled, but for frozen ones that were meant.

All is told by the prototxt and the names of the layers that the files fill, as Caffe matches them; so the net that
another engine is about to run can be looked at too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from siamplex.engine.net.phase import included
from siamplex.errors import PrototxtError
from siamplex.schema.prototxt import Prototxt

OPTION = "--allow-unfilled"
_WEIGHTS = ("weight_filler", "bias_filler")
# of each type with arrays: its settings, their fillers in the order of the arrays, Caffe's value without the first
FILLERS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "Convolution": ("convolution_param", _WEIGHTS, 0.0),
    "Deconvolution": ("convolution_param", _WEIGHTS, 0.0),
    "InnerProduct": ("inner_product_param", _WEIGHTS, 0.0),
    "Embed": ("embed_param", _WEIGHTS, 0.0),
    "Scale": ("scale_param", ("filler", "bias_filler"), 1.0),
    "Bias": ("bias_param", ("filler",), 0.0),
    "PReLU": ("prelu_param", ("filler",), 0.25),
    "Normalize": ("norm_param", ("scale_filler",), 1.0),
    "Parameter": ("parameter_param", (), 0.0),
}
STATISTICS = {"BatchNorm": 3}  # and how many arrays of them


@dataclass(frozen=True)
class Unfilled:
    """A layer whose array ``index`` no file fills: its type, what it holds (``constant 0``), its place in the net."""

    layer: str
    type: str
    index: int
    holds: str
    frozen: bool
    place: tuple[str | int, ...]


@dataclass(frozen=True)
class _Begin:
    """What an array holds before anything is loaded: the filler's type, a constant's value."""

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        return f"constant {self.value:g}" if self.kind == "constant" else self.kind

    def meant(self, index: int) -> bool:
        """Whether a frozen array that stays so was meant to."""
        return self.kind == "bilinear" or (self.kind == "constant" and (self.value != 0 or index > 0))


@dataclass
class _Array:
    """An array of the net, shared by name or not: its owner, where it begins, its rate, whether a file fills it."""

    owner: Any
    index: int
    place: tuple[str | int, ...]
    begin: _Begin | None
    rate: float = 1.0
    filled: bool = False

    def judge(self, learning: bool) -> Unfilled | None:
        """What is wrong with it, if anything."""
        if self.filled:
            return None
        frozen = self.rate == 0
        if self.begin is None:
            if learning and not self.owner.batch_norm_param.use_global_stats:
                return None
            holds = "statistics of nothing"
        elif (learning and not frozen) or (frozen and self.begin.meant(self.index)):
            return None
        else:
            holds = str(self.begin)
        return Unfilled(str(self.owner.name), str(self.owner.type), self.index, holds, frozen, self.place)


def unfilled(message: Any, state: Any, filled: Collection[str], learning: bool = True) -> list[Unfilled]:
    """The layers of a NetParameter, in the phase of ``state``, that stay unfilled and should not; once each.

    ``filled`` are the layers that weights files (or another net) fill; ``learning`` says whether the net is trained.
    """
    arrays: dict[Any, _Array] = {}
    for position, layer in enumerate(message.layer):
        if not included(layer, state):
            continue
        for index, begin in enumerate(_begins(layer)):
            rule = layer.param[index] if index < len(layer.param) else None
            key = str(rule.name) if rule is not None and rule.name else (position, index)
            array = arrays.setdefault(key, _Array(layer, index, ("layer", position), begin))
            if rule is not None and rule.HasField("lr_mult"):
                array.rate = float(rule.lr_mult)
            array.filled = array.filled or str(layer.name) in filled
    found = [wrong for array in arrays.values() if (wrong := array.judge(learning))]
    return list({wrong.layer: wrong for wrong in reversed(found)}.values())[::-1]


def _begins(layer: Any) -> Iterator[_Begin | None]:
    """Where each array of a layer begins; None for statistics."""
    kind = str(layer.type)
    if kind in STATISTICS:
        yield from (None,) * STATISTICS[kind]
        return
    if kind not in FILLERS:
        return
    field, names, default = FILLERS[kind]
    settings = getattr(layer, field)
    if kind == "Parameter":
        yield _Begin("constant", default)
    for index, name in enumerate(names):
        if index and not settings.bias_term:
            return
        if not index and kind in ("Scale", "Bias") and len(layer.bottom) > 1:
            continue  # the second bottom takes its place
        filler = getattr(settings, name)
        given = settings.HasField(name)
        yield _Begin(str(filler.type), float(filler.value)) if given or index else _Begin("constant", default)


def refusal(
    source: Prototxt, path: tuple[str | int, ...], found: Sequence[Unfilled], given: Sequence[object],
    option: str = OPTION, hint: str = "",
) -> PrototxtError:  # fmt: skip
    """The error that names the first of them with its line.

    ``path`` leads to the net inside ``source``, ``given`` are the files looked into, ``option`` lets it pass.
    """
    first = found[0]
    never = " never learns (lr_mult 0) and" if first.frozen else ""
    others = f" (so do {', '.join(f.layer for f in found[1:])})" if len(found) > 1 else ""
    table = " (the image table is images.caffemodel of the pair store)" if first.type == "Embed" else ""
    where = f"none of {', '.join(map(str, given))}" if len(given) > 1 else f"not {given[0]}" if given else "no file"
    ending = f"; {option} goes on with it" if option else ""
    return source.error(
        f"layer '{first.layer}' ({first.type}){never} stays as its filler made it, {first.holds}{others}: expected "
        f"weights that hold it{table}, found {where}{hint}{ending}",
        *path, *first.place,
    )  # fmt: skip
