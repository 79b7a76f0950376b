"""Frozen layers that no weights file filled: nothing ever moves them from what their filler drew.

An image table left out of ``--weights`` is a table of blank pictures, and conv1-3 left out are random filters.  A layer
counts as frozen where it states ``lr_mult: 0`` for all its arrays.  It needs no weights where its filler is a pattern
that was meant (``bilinear``, a constant other than 0), where its defaults are (Scale, Bias, PReLU), or where its arrays
are statistics that are gathered as it runs (BatchNorm).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from siamplex.errors import PrototxtError
from siamplex.schema.prototxt import Prototxt

_BY_DEFAULT = frozenset({"Scale", "Bias", "PReLU", "BatchNorm", "Normalize"})


def frozen_unfilled(layers: Iterable[Any], filled: Collection[str], all_frozen: bool = False) -> list[str]:
    """Names of the frozen layers among LayerParameters that are not among the names ``filled`` from weights files.

    An array shared by name is filled with the layer that owns it.  ``all_frozen``: nothing learns, as in a test; layers
    whose type has weights count by their fillers' fields.
    """
    owners: dict[str, str] = {}
    found = []
    for layer in layers:
        shared = [str(p.name) for p in layer.param if p.name]
        owner = owners.get(shared[0], str(layer.name)) if shared else str(layer.name)
        for name in shared:
            owners.setdefault(name, str(layer.name))
        frozen = bool(layer.param) and all(p.HasField("lr_mult") and p.lr_mult == 0 for p in layer.param)
        learns_elsewhere = owner != layer.name
        if all_frozen:
            frozen = _filler(layer) is not None
        if frozen and not learns_elsewhere and owner not in filled and not _meant(layer):
            found.append(str(layer.name))
    return found


def _filler(layer: Any) -> Any:
    """The filler of a layer's weight (a FillerParameter); None for a type without."""
    for field, value in layer.ListFields():
        if field.message_type is not None and field.name.endswith("_param"):
            for name in ("weight_filler", "filler"):
                if name in field.message_type.fields_by_name:
                    return getattr(value, name)
    return None


def _meant(layer: Any) -> bool:
    """Whether a layer's filler gives what it is to keep."""
    if layer.type in _BY_DEFAULT:
        return True
    filler = _filler(layer)
    if filler is None:
        return False
    return filler.type == "bilinear" or (filler.type == "constant" and filler.value != 0)


def refuse(source: Prototxt, layers: Iterable[tuple[tuple[str | int, ...], Any]], names: list[str]) -> PrototxtError:
    """The error for the first of some unfilled layers; ``layers`` are all of a net with their places in ``source``."""
    path, layer = next((path, layer) for path, layer in layers if layer.name == names[0])
    more = f" (and {', '.join(names[1:4])})" if names[1:] else ""
    return source.error(
        f"layer '{layer.name}' ({layer.type}){more}: frozen, and in none of the weights given: name the caffemodel "
        "that holds it too, or say --allow-unfilled where its filler is meant",
        *path,
    )
