"""Finding unfilled layers: frozen layers that no weights file fills, and whose filler values cannot be intended.

Caffe silently leaves a layer that no weights file names at its filler's values.  For a layer that learns this is the
usual start.  A layer that never learns (lr_mult 0) keeps them: with an image table of zeros every face is blank.  The
rule, for each array:

- Intended: a frozen array whose filler is a fixed pattern, that is ``bilinear`` or a constant other than 0; for arrays
  after the first (biases) any constant, since a bias of 0 adds nothing.
- Not intended: a frozen array with a random filler, and a frozen layer's first array with zeros, which is also the
  default of a prototxt without a filler.
- Statistics (BatchNorm) are not parameters: training computes them, unless ``use_global_stats`` prevents it.
- A net that is only run forward learns nothing: all its layers must be filled, except frozen arrays that are intended.

The check needs only the prototxt and the names of the layers that the files fill, matched as in Caffe.  So it also
works for a net that another engine will run.
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
# by layer type: its settings message, the filler fields in the order of its arrays, the first array's default value
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
    # the third array is that of x_static
    "LSTM": ("recurrent_param", (*_WEIGHTS, "weight_filler", "weight_filler"), 0.0),
    "RNN": ("recurrent_param", (*_WEIGHTS, "weight_filler", "weight_filler", *_WEIGHTS), 0.0),
}
# layer types with a state: the number of bottoms that give it, where it is exposed
_STATES = {"LSTM": 2, "RNN": 1}
STATISTICS = {"BatchNorm": 3}  # layer types with statistics: the number of these arrays


@dataclass(frozen=True)
class Unfilled:
    """A layer whose array ``index`` no file fills: its type, its filler (``constant 0``), its place in the net."""

    layer: str
    type: str
    index: int
    holds: str
    frozen: bool
    place: tuple[str | int, ...]


@dataclass(frozen=True)
class _Begin:
    """An array's initial values: the filler's type, and the value of a constant."""

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        return f"constant {self.value:g}" if self.kind == "constant" else self.kind

    def meant(self, index: int) -> bool:
        """Whether these values are intended for a frozen array."""
        return self.kind == "bilinear" or (self.kind == "constant" and (self.value != 0 or index > 0))


@dataclass
class _Array:
    """An array of the net, shared by name or not: owner, initial values, learning rate, whether a file fills it."""

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
    """The layers of a NetParameter, in the phase of ``state``, that are unfilled and must not be; each once.

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
    """The initial values of each array of a layer; None for statistics."""
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
    if kind in _STATES and len(layer.bottom) <= 2 + _STATES[kind] * settings.expose_hidden:
        names = (*names[:2], *names[3:])
    for index, name in enumerate(names):
        if index and kind not in _STATES and not settings.bias_term:
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
    """The error that names the first unfilled layer with its line.

    ``path`` is the path to the net inside ``source``, ``given`` are the loaded files, ``option`` allows such layers.
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
