"""Looking layer types up by name: Caffe's, those of plug-ins, and the error text for unknown ones."""

from __future__ import annotations

from collections.abc import Iterable

from siamplex.engine import layers  # noqa: F401  (importing registers them)
from siamplex.engine.net import plugins
from siamplex.engine.net.layer import LAYERS, Layer, LayerSpec
from siamplex.engine.net.unsupported import unsupported
from siamplex.schema import prototxt


def known_types() -> list[str]:
    """The type names that the engine runs."""
    return sorted(LAYERS)


def about_type(type_name: str, python: str = "") -> str | None:
    """The error text for an unknown layer type, with the known ones and a replacement; None for a known type.

    ``python`` is ``MODULE.CLASS`` of a Python layer.  Plug-ins are searched for types that the engine does not have.
    """
    known = known_types()
    if type_name in known:
        return None
    try:
        if plugins.find(_plugin_name(type_name, python)):
            return None
    except plugins.PluginError as error:
        return f"type '{type_name}': {error}"
    return unsupported(type_name, known, python)


def _plugin_name(type_name: str, python: str) -> str:
    return f"Python.{python}" if type_name == "Python" else type_name


def _declare_for(types: Iterable[str]) -> bool:
    known = known_types()
    return plugins.declare_for(name for name in dict.fromkeys(types) if name not in known)


prototxt.about_type = about_type
prototxt.declare_for = _declare_for


def create(spec: LayerSpec) -> Layer:
    """Create the layer that a prototxt names; raises PrototxtError for an unknown type."""
    python = spec.message.python_param
    inside = f"{python.module}.{python.layer}"
    about = about_type(spec.type, inside)
    cls = LAYERS.get(spec.type)
    if cls is not None:
        about = plugins.replacement(spec.type)
    if about:
        raise spec.source.error(f"layer '{spec.name}': {about}", *spec.path, "type", 0)
    cls = cls or plugins.find(_plugin_name(spec.type, inside))
    assert cls
    return cls(spec)
