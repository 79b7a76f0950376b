"""Layer types that other packages add, by the entry point group ``siamplex.layers``.

An entry point's name is the layer type it adds, its value the class (:class:`~siamplex.engine.net.layer.Layer`).
The name ``Python.MODULE.CLASS`` replaces ``type: "Python"`` with that module and class.  A plug-in is trusted code:
it is imported only when a net uses its type.  A plug-in cannot replace a type of the engine.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib import metadata
from typing import Any

import torch

from siamplex.engine.net.layer import Context, Layer, Shape
from siamplex.errors import SiamplexError
from siamplex.schema.extensions import DeclarationError, Fields, declare

GROUP = "siamplex.layers"


class PluginError(ValueError):
    """A fault of a plug-in; its message is one line that names the type and the package."""


@lru_cache(maxsize=4)
def _listed(path: tuple[str, ...]) -> tuple[metadata.EntryPoint, ...]:
    try:
        return tuple(metadata.entry_points(group=GROUP))
    except Exception as error:  # some package's metadata cannot be read; the error may be of any type
        raise PluginError(f"entry points {GROUP} cannot be listed: {_one_line(error)}") from None


def listed() -> tuple[metadata.EntryPoint, ...]:
    """The entry points of all packages on the path.  Raises PluginError."""
    return _listed(tuple(sys.path))


def _said(entry: metadata.EntryPoint) -> str:
    package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return f"plug-in '{entry.name} = {entry.value}'{package}"


def entry_for(type_name: str) -> metadata.EntryPoint | None:
    """The entry point of a type; None without one.  Raises PluginError where packages disagree about it."""
    found = {entry.value: entry for entry in listed() if entry.name == type_name}
    if len(found) > 1:
        raise PluginError(f"several plug-ins add '{type_name}': {', '.join(map(_said, found.values()))}; keep one")
    return next(iter(found.values()), None)


def replacement(type_name: str) -> str | None:
    """The error text where a plug-in has the name of an engine's type; None where none has."""
    try:
        entry = next((entry for entry in listed() if entry.name == type_name), None)
    except PluginError:  # irrelevant for a type of the engine
        return None
    return f"{_said(entry)} would replace a type of siamplex's own: give it another name" if entry else None


_classes: dict[tuple[str, str], type[Layer]] = {}


def find(type_name: str) -> type[Layer] | None:
    """The class that a plug-in adds for a type; imports it and declares its fields.  None without one.

    Raises PluginError.
    """
    entry = entry_for(type_name)
    if entry is None:
        return None
    key = entry.name, entry.value
    if key not in _classes:
        _classes[key] = _load(entry)
    return _classes[key]


def _load(entry: metadata.EntryPoint) -> type[Layer]:
    try:
        cls: Any = entry.load()
    except BaseException as error:  # its module may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"{_said(entry)} cannot be imported: {_one_line(error)}") from None
    if not (isinstance(cls, type) and issubclass(cls, Layer)):
        raise PluginError(f"{_said(entry)}: expected a subclass of siamplex.layer_api.Layer, found {cls!r:.80}")
    fields = cls.declares
    if fields is not None:
        if not isinstance(fields, Fields):
            raise PluginError(f"{_said(entry)}: expected siamplex.layer_api.Fields in declares, found {fields!r:.80}")
        try:
            declare(fields)
        except DeclarationError as error:
            raise PluginError(f"{_said(entry)}: {error}") from None
    return _guarded(cls, fields, _said(entry))


def _guarded(cls: type[Layer], fields: Fields | None, said: str) -> type[Layer]:
    """A subclass that turns faults into errors of one line, with the layer and the place in the plug-in."""

    def guard(method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def guarded(self: Layer, *args: Any) -> Any:
            try:
                return method(self, *args)
            except (SiamplexError, KeyboardInterrupt, MemoryError):
                raise
            except Exception as error:
                raise self.spec.error(f"{said}: {name} failed: {_one_line(error)}") from error

        return guarded

    def setup(self: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
        shapes = [tuple(int(size) for size in shape) for shape in cls.setup(self, bottoms)]
        tops = len(self.spec.message.top) or 1
        if len(shapes) != tops:
            raise ValueError(f"{len(shapes)} shapes for {tops} tops")
        self.plugged_shapes = shapes  # type: ignore[attr-defined]
        return shapes

    def forward(
        self: Layer, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        tops = list(cls.forward(self, bottoms, params, context))
        made, promised = [tuple(top.shape) for top in tops], self.plugged_shapes  # type: ignore[attr-defined]
        if made != promised:
            raise ValueError(f"tops of shapes {made}, setup said {promised}")
        return tops

    members: dict[str, Any] = {
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
        "__post_init__": guard(cls.__post_init__, "configure"),
        "setup": guard(setup, "setup"),
        "forward": guard(forward, "forward"),
    }
    if fields is not None:
        members["param_field"] = cls.param_field or fields.name
        members["supported"] = cls.supported or fields.names
    return type(cls.__name__, (cls,), members)


def _one_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no word'}"[:300] + at


def declare_for(types: Iterable[str]) -> bool:
    """Declare the fields of these types' plug-ins; returns whether there are any.  Broken plug-ins are ignored."""
    found = False
    for name in types:
        try:
            cls = find(name)
        except PluginError:
            continue  # reported when the layer is created
        found = found or (cls is not None and cls.declares is not None)
    return found
