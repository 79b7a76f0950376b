"""The outline of a net: it is built with shapes only, without values and without its databases.

Where the source of a data layer is missing, an Input takes the layer's place.  Its shapes come from, in this order:
the caller; the file (``crop_size``, ``new_height``, mean values); the layer that reads the blob (as many labels as its
other bottom has samples); the first of some common shapes with which the net can be built.  The result lists what was
assumed, and why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from siamplex.engine.net.guessed_shapes import Assumed, Trial, candidates, guess
from siamplex.engine.net.layer import LayerSpec, Shape
from siamplex.engine.net.missing_sources import Source, missing_source, why_lost
from siamplex.engine.net.net import Net
from siamplex.engine.net.phase import included, net_state, trains
from siamplex.errors import PrototxtError
from siamplex.schema.prototxt import Prototxt

_SECONDS = 10.0  # time limit of the search for shapes
_ALIKE = 9  # guesses, of two image sizes at least, after which the same error is not due to them


class GuessError(PrototxtError):
    """A layer does not take shapes that are guesses: either the net is wrong, or they are.

    ``fault`` is what the layer says of them; ``assumed`` are the guesses it depends on.
    """

    def __init__(self, fault: PrototxtError, assumed: Sequence[Assumed], missing: Sequence[str]) -> None:
        self.fault, self.assumed = fault, tuple(assumed)
        options = " ".join(f"--input {one.blob}={','.join(map(str, one.shape))}" for one in assumed)
        super().__init__(fault.path, fault.line, f"{fault.what}; that follows from guesses, as {'; '.join(missing)}: "
                                                 f"give true shapes in place of {options}")  # fmt: skip


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

    Raises PrototxtError for a net that cannot be built, whatever its sources hold, and GuessError for one that cannot
    be built with any of the shapes that were tried in place of missing ones.
    """
    message = source.message if message is None else message
    given = dict(given or {})
    full = net_state(phase, message.state, *([state] if state is not None else []))
    specs = [
        (i, LayerSpec(layer, source, (*path, "layer", i), train=trains(layer, phase)))
        for i, layer in enumerate(message.layer)
    ]
    specs = [(i, spec) for i, spec in specs if included(spec.message, full)]
    sources = [found for i, spec in specs if (found := missing_source(i, spec))]
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
    trials: list[Trial] = []
    until = time.monotonic() + _SECONDS
    for channels, size in candidates(sources, specs):
        trial = guess(sources, given, channels, size, specs, absent)
        if trial.fault is None:
            whole = trial.guesses.put_into(changed)
            try:
                return Outline(build(whole), whole, tuple(trial.guesses.assumed()), missing, types)
            except PrototxtError as error:  # of the net as a whole
                every = frozenset(top for one in sources for top in one.tops)
                trial = replace(trial, fault=error, origins=every)
        trials.append(trial)
        if (len(trials) >= _ALIKE and _alike(trials[-_ALIKE:])) or time.monotonic() > until:
            break  # the shapes are not the cause
    raise _blamed(trials, sources)


def _alike(trials: Sequence[Trial]) -> bool:
    """Whether all trials end with the same error."""
    return len({str(trial.fault) for trial in trials}) == 1


def _blamed(trials: Sequence[Trial], sources: Sequence[Source]) -> PrototxtError:
    """The error to be told: of the guess that most layers take, as the net's own only where no guess is its cause."""
    best = max(trials, key=lambda trial: trial.reached)
    assert best.fault
    doubtful = best.doubtful()
    free = any(one.free for one in sources if {guess.blob for guess in doubtful} & set(one.tops))
    if not doubtful or (_alike(trials) and (best.at is None or not free)) or best.certain():
        return best.fault
    return GuessError(best.fault, doubtful, [one.missing for one in sources if one.spec.name in
                                             {guess.layer for guess in doubtful}])  # fmt: skip


def _check_given(
    source: Prototxt, given: Mapping[str, Shape], specs: Sequence[tuple[int, LayerSpec]], absent: set[int]
) -> None:
    """Refuse a given shape for a blob that is not an input."""
    takes = [top for i, spec in specs if i in absent or spec.type == "Input" for top in spec.message.top]
    for blob in given:
        if blob not in takes:
            raise source.error(
                f"no input or missing source has the top '{blob}' (these have: {', '.join(takes) or 'none'})"
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
        if spec.type == "InfogainLoss" and len(layer.bottom) == 2 and why_lost(spec.source, name):
            layer.type = "SoftmaxWithLoss"  # has the same shapes and reads no matrix
            layer.softmax_param.axis = layer.infogain_loss_param.axis
    return net


def sources_named(path: Path, found: Outline) -> list[str]:
    """Messages on what is missing and what was assumed, and how to give the shapes."""
    lines = [f"{path}: {text}" for text in found.missing]
    for one in found.assumed:
        shape = ",".join(map(str, one.shape))
        lines.append(f"{path}: '{one.blob}' taken as {shape}: {one.why} (--input {one.blob}={shape} gives it)")
    return lines
