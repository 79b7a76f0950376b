"""Parameter messages of plug-in layer types, as fields of LayerParameter.

A fork of Caffe gives a layer type its own field there (``triplet_loss_param { margin: 0.2 }``).  Here such a field
becomes a protobuf extension, declared at run time.  protobuf's text format writes an extension's name in brackets
(``[caffe.triplet_loss_param] { ... }``), prototxts do not: brackets are added on reading and removed on writing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2

from siamplex.schema import locations, messages
from siamplex.schema.messages import PACKAGE, POOL, add_field

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LOWEST, _HIGHEST = 20_000, 2**29 - 1  # numbers of fields; protobuf keeps 19,000 to 19,999 for itself


@dataclass(frozen=True)
class Fields:
    """A parameter message: the ``name`` of its field in LayerParameter, and its fields.

    Each field reads ``"[repeated] type name number [default]"``: int32, int64, uint32, float, double, bool, string, a
    message of Caffe's (``FillerParameter``), an enum of Caffe's or one of ``enums`` (its values with their numbers).
    ``number`` is that of the field in LayerParameter, which only binary files have: the fork's, where it is free here;
    without one it is made of the name.
    """

    name: str
    fields: Sequence[str]
    enums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    number: int = 0

    @property
    def names(self) -> frozenset[str]:
        """Names of the fields."""
        return frozenset(re.split(r"\s+", re.sub(r"^(repeated |packed )+", "", f))[1] for f in self.fields)


class DeclarationError(ValueError):
    """A declaration of fields that cannot be."""


_declared: dict[str, tuple[Fields, Any]] = {}


def declare(fields: Fields) -> None:
    """Allow these fields in prototxts from now on; repeating a declaration is allowed.  Raises DeclarationError."""
    if fields.name in _declared:
        if _declared[fields.name][0] != fields:
            raise DeclarationError(f"field '{fields.name}' is declared already, with other fields")
        return
    if not _NAME.fullmatch(fields.name):
        raise DeclarationError(f"'{fields.name}' is no name of a field (small letters, digits, '_')")
    if fields.name in messages.LayerParameter.DESCRIPTOR.fields_by_name:
        raise DeclarationError(f"field '{fields.name}' is one of Caffe's own")
    number = fields.number or _LOWEST + zlib.crc32(fields.name.encode()) % (_HIGHEST - _LOWEST)
    kind = "".join(word.capitalize() for word in fields.name.removesuffix("_param").split("_")) + "Parameter"
    if kind in messages.MESSAGES or kind in messages.ENUMS:
        raise DeclarationError(f"field '{fields.name}': Caffe has a {kind} of its own; choose another name")
    file = descriptor_pb2.FileDescriptorProto(
        name=f"siamplex/plugins/{fields.name}.proto",
        package=PACKAGE,
        syntax="proto2",
        dependency=["siamplex/messages.proto"],
    )
    message = file.message_type.add(name=kind)
    try:
        for name, values in fields.enums.items():
            enum = message.enum_type.add(name=name)
            for value, at in values.items():
                enum.value.add(name=value, number=at)
        own = {name: f".{PACKAGE}.{kind}.{name}" for name in fields.enums}
        for one in fields.fields:
            add_field(message, one, own)
        file.extension.add(
            name=fields.name, number=number, label=1, type=11, extendee=f".{PACKAGE}.LayerParameter",
            type_name=f".{PACKAGE}.{kind}",
        )  # fmt: skip
        POOL.Add(file)
        made = POOL.FindExtensionByName(f"{PACKAGE}.{fields.name}")
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise DeclarationError(f"field '{fields.name}': {' '.join(str(error).split())}") from None
    _declared[fields.name] = fields, made


def settings(layer: Any, field_name: str) -> Any:
    """A layer's parameter message of that name: one of Caffe's, or one that was declared."""
    if field_name in _declared:
        return layer.Extensions[_declared[field_name][1]]
    return getattr(layer, field_name)


def bracketed(text: str) -> str:
    """Prototxt text with the names of declared fields in brackets, as the text parser wants them."""
    if not any(name in text for name in _declared):
        return text
    parts, done = [], 0
    for name, start, end in locations.names(text):
        if name in _declared:
            parts += [text[done:start], f"[{PACKAGE}.{name}]"]
            done = end
    return "".join([*parts, text[done:]])


def plain(text: str) -> str:
    """Text that protobuf printed, with the names of declared fields as nets have them."""
    if not _declared:
        return text
    return re.sub(rf"^(\s*)\[{PACKAGE}\.({'|'.join(_declared)})\]", r"\1\2", text, flags=re.MULTILINE)
