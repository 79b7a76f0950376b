"""Whether two nodes of a net compute the same function."""

from __future__ import annotations

from siamplex.engine.net.node import Node


def same_function(a: Node, b: Node) -> bool:
    """Whether two nodes have the same type, parameters and settings, fillers excepted."""
    return (
        a.layer.spec.type == b.layer.spec.type
        and function_settings(a) == function_settings(b)
        and len(a.params) == len(b.params)
        and all(p.tensor is q.tensor for p, q in zip(a.params, b.params, strict=True))
    )


def function_settings(node: Node) -> bytes:
    """The settings that determine a layer's function, serialised: all except its fillers."""
    if node.layer.params is None:
        return b""
    settings = type(node.layer.params)()
    settings.CopyFrom(node.layer.params)
    for name in ("weight_filler", "bias_filler"):
        if name in settings.DESCRIPTOR.fields_by_name:
            settings.ClearField(name)
    return bytes(settings.SerializeToString(deterministic=True))
