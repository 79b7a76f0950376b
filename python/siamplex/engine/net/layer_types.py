"""Layer types by name: those of Caffe, those of plug-ins, and what to say of others."""

from __future__ import annotations

from collections.abc import Iterable

from siamplex.engine import layers  # noqa: F401  (importing registers them)
from siamplex.engine.net import plugins
from siamplex.engine.net.layer import LAYERS, Layer, LayerSpec
from siamplex.engine.net.unsupported import unsupported
from siamplex.schema import prototxt


def known_types() -> list[str]:
    """Type names the engine runs."""
    return sorted(LAYERS)


def about_type(type_name: str, python: str = "") -> str | None:
    """What to say of a layer type that is not known: which are, and what to do instead.  None for a known one.

    ``python`` is ``MODULE.CLASS`` of a Python layer.  Plug-ins are looked for where the type is none of ours.
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
    """Make the layer a prototxt asks for; raises PrototxtError for a type not known."""
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
