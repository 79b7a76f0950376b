"""Telling deploy nets (fed by the caller) from train_val nets (with data layers), and refusing the wrong kind."""

from __future__ import annotations

from typing import Any

from siamplex.engine.net.phase import included, net_state
from siamplex.errors import InputError
from siamplex.schema.prototxt import Prototxt


def _inputs(message: Any, state: Any) -> tuple[list[str], list[str]]:
    """Blobs that the caller must give, and layers that have tops but no bottoms (data layers)."""
    layers = [layer for layer in message.layer if included(layer, state)]
    given = [str(name) for name in message.input]
    given += [str(top) for layer in layers if layer.type == "Input" for top in layer.top]
    return given, [str(layer.name) for layer in layers if layer.type != "Input" and layer.top and not layer.bottom]


def check_deploy(source: Prototxt) -> None:
    """Refuse a net whose images come from data layers where a deploy net is wanted.  Raises InputError."""
    state = net_state("TEST", source.message.state)
    given, _ = _inputs(source.message, state)
    data = [str(layer.name) for layer in source.message.layer if layer.type.endswith("Data") and included(layer, state)]
    if not given or data:
        what = f"a train_val net, with the data layer '{data[0]}'" if data else "a net without an input"
        raise InputError(source.path, "a deploy net: one tower, with an Input for the images", what)


def check_train_val(
    source: Prototxt, message: Any, path: tuple[str | int, ...], state: Any = None, phase: str = "TRAIN"
) -> None:
    """Refuse a deploy net where a net with data layers is wanted.  Raises PrototxtError.

    ``path`` is the path to the net in ``source``; ``state`` is added to the net's own.
    """
    full = net_state(phase, message.state, *([state] if state is not None else []))
    given, made = _inputs(message, full)
    if given and not made:
        raise source.error(
            f"expected a train_val net, whose data layers read a database; found a deploy net: nothing feeds its "
            f"input '{given[0]}'",
            *path,
        )
