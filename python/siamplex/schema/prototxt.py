"""Reading and writing prototxt text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from siamplex.errors import InputError, PrototxtError
from siamplex.run.durable import write_text
from siamplex.schema import caffe_text, extensions, locations, messages
from siamplex.schema.bounds import Bounds, here_or_beside
from siamplex.schema.file_kinds import (
    DEPLOY,
    EMPTY,
    JSON,
    LOG,
    MANIFEST,
    NET,
    PAGE,
    POINTER,
    SOLVER,
    TRAIN_VAL,
    kind_of_text,
    words_for,
)
from siamplex.schema.instead import instead
from siamplex.schema.upgrade import needs_upgrade, upgrade_net

ANYWHERE = Bounds()
MAX_BYTES = 8 << 20  # far above any net; a wrong file is not read whole

# What to say of a layer type that is not supported, None for one that is: known to whoever runs layers.
about_type: Callable[[str], str | None] = lambda _: None  # noqa: E731
# ... and of a solver type: known to whoever runs solvers.
about_solver_type: Callable[[str], str | None] = lambda _: None  # noqa: E731
# Lets prototxts have the fields of the plug-ins of some layer types; whether there are any.
declare_for: Callable[[Iterable[str]], bool] = lambda _: False  # noqa: E731

_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")
_IN_NEW_FORM = {
    "blobs_lr": "that is of the old form, layers { }; here it is param { lr_mult: }",
    "weight_decay": "that is of the old form, layers { }; here it is param { decay_mult: }",
    "blob_share_mode": "that is of the old form, layers { }; here it is param { share_mode: }",
}


@dataclass(frozen=True)
class Prototxt:
    """A parsed prototxt: the message, the file it came from, and the line of each field.

    ``upgraded`` says that a net in it was of one of Caffe's older forms.
    """

    message: Any
    path: Path
    lines: dict[locations.Path, int]
    bounds: Bounds = ANYWHERE
    upgraded: bool = False

    def find(self, name: str) -> Path:
        """A path this prototxt names: relative to the working folder as in Caffe, or else to the prototxt.

        Raises InputError where it leads out of bounds.
        """
        found = here_or_beside(name, self.path.parent / name, self.path)
        self.bounds.check(found, self.path)
        return found

    def missing(self, name: str) -> str:
        """What to say of a path this prototxt names where nothing lies: where it was looked for, where it may be."""
        own = self.path.resolve().parent
        here = Path.cwd()
        said = f"nothing there, neither in {here} nor in {own}" if here != own else f"nothing there in {own}"
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return "nothing there"
        if (own / name).exists():  # of no use to who looks in the working folder alone
            return f"nothing there in {Path.cwd()}; {own / name} is there: run the command in {own}"
        above = next((folder for folder in own.parents if (folder / name).exists()), None)
        if above is None:
            return f"{said} (its paths are relative to the folder the command runs in)"
        return f"{said}; {above / name} is there: run the command in {above}"

    def line(self, *path: str | int) -> int | None:
        """Line of the field at ``path``, or of the nearest field around it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def error(self, what: str, *path: str | int) -> PrototxtError:
        """The error to raise for a fault at ``path``."""
        return PrototxtError(self.path, self.line(*path), what)


def read(path: str | Path, message: str, bounds: Bounds = ANYWHERE) -> Prototxt:
    """Parse the prototxt at ``path`` as ``message`` (``"NetParameter"``, ``"SolverParameter"``).

    ``bounds`` are where the paths in it may lead.

    Nets of Caffe's older forms come back in today's (:mod:`~siamplex.schema.upgrade`).  Bytes that are no UTF-8 are
    taken for Latin-1, as in comments of their time.  Raises InputError where it cannot be read, PrototxtError (with
    its line) where it cannot be parsed or uses a field this package does not know.
    """
    path = Path(path)
    wanted = SOLVER if message == "SolverParameter" else NET
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(path, f"a prototxt of at most {MAX_BYTES} bytes", instead(path, wanted, "a larger file"))
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(path, "a readable prototxt", instead(path, wanted, error.strerror or str(error))) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    text = caffe_text.with_newlines(text)
    if "\0" in text or _NO_TEXT.search(caffe_text.without_comments(text)):
        raise InputError(path, "a prototxt (text)", words_for(path, "a binary file"))
    _check_kind(path, text, message)
    return parse(text, message, path, bounds)


_NETS = (NET, TRAIN_VAL, DEPLOY)
_NO_PROTOTXT = (EMPTY, JSON, MANIFEST, LOG, POINTER, PAGE)


def _check_kind(path: Path, text: str, message: str) -> None:
    """Refuse a solver where a net is wanted, a net where a solver is, and text that is neither.  Raises InputError."""
    kind = kind_of_text(text[:MAX_BYTES].encode())
    if message == "SolverParameter" and kind.name in (*_NETS, *_NO_PROTOTXT):
        raise InputError(path, "a solver prototxt", instead(path, SOLVER, kind.words))
    if message == "NetParameter" and kind.name in (SOLVER, *_NO_PROTOTXT):
        raise InputError(path, "a net prototxt", instead(path, NET, kind.words))


def parse(text: str, message: str, path: str | Path = "<text>", bounds: Bounds = ANYWHERE) -> Prototxt:
    """Parse prototxt text; see :func:`read`."""
    make, text = getattr(messages, message), locations.joined_signs(text)
    fault = caffe_text.fault(text)
    if fault:
        raise PrototxtError(path, *fault)
    try:
        try:
            parsed = text_format.Parse(extensions.bracketed(text), make())
        except text_format.ParseError:  # perhaps for a field of a plug-in that is not loaded yet
            if not declare_for(_types_in(text)):
                raise
            parsed = text_format.Parse(extensions.bracketed(text), make())
    except text_format.ParseError as error:
        raise _readable(Path(path), text, error) from None
    except RecursionError:
        raise PrototxtError(path, None, "messages are nested too deeply") from None
    nets = _nets_in(parsed, message)
    old = any(needs_upgrade(net) for net, _ in nets)
    result = Prototxt(parsed, Path(path), locations.locate(text), bounds, old)
    for net, where in nets:
        upgrade_net(net, result.lines, where, result.error)
    return result


def _types_in(text: str) -> list[str]:
    """Layer types in a net's text, as far as it can be parsed."""
    found = locations.scan(text).items()
    return [value.strip("\"'") for path, (_, value) in found if path[-2:] == ("type", 0) and path[-4:-3] == ("layer",)]


def _nets_in(parsed: Any, message: str) -> list[tuple[Any, locations.Path]]:
    """The NetParameters in a parsed message, each with its path."""
    if message == "NetParameter":
        return [(parsed, ())]
    if message != "SolverParameter":
        return []
    nets = [(parsed.net_param, "net_param", 0)] if parsed.HasField("net_param") else []
    nets += [(parsed.train_net_param, "train_net_param", 0)] if parsed.HasField("train_net_param") else []
    nets += [(net, "test_net_param", i) for i, net in enumerate(parsed.test_net_param)]
    return [(net, (field, index)) for net, field, index in nets]


def _readable(path: Path, text: str, error: text_format.ParseError) -> PrototxtError:
    found = re.match(r"(\d+):\d+ ?: (.*)", str(error), re.DOTALL)
    line = int(found.group(1)) if found else error.GetLine() or 1
    what = (found.group(2) if found else str(error)).replace("\n", " ")
    what = re.sub(
        r"^'.*': (?=Expected|Enum|Couldn't|Invalid|Unexpected|Value|String)", "", what
    )  # the whole line, once more
    unknown = re.search(r'"caffe\.(\w+)" has no field named "(\w+)"', what)
    value = re.search(r'Enum type "caffe\.\w+\.(\w+)" has no value (?:named (\w+|".*?")|with number (-?\d+))', what)
    solver = _solver_type(path, text, value is not None and value.group(1) == "SolverType")
    if solver and ((unknown and unknown.group(1) == "SolverParameter") or (value and value.group(1) == "SolverType")):
        return solver
    if unknown:
        message, field = unknown.groups()
        what = f"field '{field}' of {message} is not supported: {_hint(message, field)}"
        return _in_layer(path, text, line, field, what)
    if value and value.group(1) == "LayerType":
        return _old_type(path, text, line, (value.group(2) or value.group(3)).strip('"'))
    if value:
        return _in_layer(path, text, line, None, _no_value(value.group(1), value.group(2) or value.group(3)))
    return _in_layer(path, text, line, None, what + _what_it_takes(text, line, what))


def _no_value(enum: str, given: str) -> str:
    """What to say of a value that an enum has not, with those that it has."""
    known = messages.ENUMS.get(enum, {})
    plain = given.strip('"')
    meant = f"; {plain.upper()} is meant" if plain.upper() in known else "; a fork of Caffe may have it"
    quotes = ", without quotes" if plain != given and plain.upper() in known else ""
    return f"{enum} has no value {given}{meant}{quotes} (known: {', '.join(known)})"


def _hint(message: str, field: str) -> str:
    """What to do about a field that a message has not."""
    if field.isdigit():
        return "no field has a number for its name: one value stands where a comma makes two"
    if message == "LayerParameter" and field in _IN_NEW_FORM:
        return _IN_NEW_FORM[field]
    fields = messages.POOL.FindMessageTypeByName(f"{messages.PACKAGE}.{message}").fields_by_name
    by_stem = {_stem(name): name for name in fields}  # most of a layer's end in _param, which makes none alike
    near = get_close_matches(_stem(field), by_stem, n=1, cutoff=0.8)
    whole = "solver" if message == "SolverParameter" else "net"
    todo = f"is '{by_stem[near[0]]}' meant?" if near else f"take it out, if the {whole} means the same without it"
    return f"Caffe 1.0 has no such field, a fork may; {todo}"


def _stem(field: str) -> str:
    return re.sub("_params?$", "", field)


def _what_it_takes(text: str, line: int, what: str) -> str:
    """The field that has a word at ``line`` where text or a number belongs, and what it takes; empty if unknown."""
    found = re.fullmatch(r"(Expected string but found|Couldn't parse (?:integer|float)): '?(.+?)'?", what)
    if not found:
        return ""
    stated = locations.field_before(text, line, found.group(2))
    if stated is None:
        return ""
    field, at, missing = stated
    if missing or at != line:
        return f"; {field} on line {at} has no value"
    whole = "integer" in found.group(1)
    takes = "text in quotes" if found.group(1).startswith("Expected") else "a whole number" if whole else "a number"
    return f"; {field} takes {takes}"


def _solver_type(path: Path, text: str, old: bool) -> PrototxtError | None:
    """The error for a solver of an unknown type, by the field that states it; a fork's fields go with its type."""
    found = locations.scan(text)
    for field in ("solver_type", "type"):
        line, value = found.get((field, 0), (0, ""))
        about = about_solver_type(value.strip("\"'")) if value else None
        if about and not (field == "type" and old):
            return PrototxtError(path, line, about)
    return None


@dataclass(frozen=True)
class _Layer:
    """A layer of a text that does not parse: its name, its type and the type's line, if they were found."""

    name: str
    type: str
    type_line: int | None
    old: bool


def _layer_around(text: str, line: int, field: str | None) -> _Layer | None:
    """The layer with a ``field`` (any, if None) at ``line``."""
    found = locations.scan(text)
    for path, (at, _) in found.items():
        steps = [i for i in range(0, len(path), 2) if path[i] in ("layer", "layers")]
        if at != line or not steps or len(path) <= steps[0] + 2 or (field and path[-2] != field):
            continue
        layer = path[: steps[0] + 2]
        inner = [layer, (*layer, "layer", 0)]
        _, name = _first(found, inner, "name")
        where, kind = _first(found, inner, "type")
        return _Layer(name.strip("\"'"), kind.strip("\"'"), where or None, layer[-2] == "layers")
    return None


def _first(
    found: dict[locations.Path, tuple[int, str]], messages_at: list[locations.Path], field: str
) -> tuple[int, str]:
    """Line and value of the first field of that name in some messages; (0, "") without one."""
    paths = [(*at, field, 0) for at in messages_at]
    return next((found[path] for path in paths if path in found), (0, ""))


def _in_layer(path: Path, text: str, line: int, field: str | None, what: str) -> PrototxtError:
    """The error with its layer's name; if the layer's type is unknown, the error says that instead."""
    layer = _layer_around(text, line, field)
    if layer is None or not (layer.name or layer.type):
        return PrototxtError(path, line, what)
    if "Expected string" in what and not layer.old and line == layer.type_line and layer.type.isupper():
        what += f"; 'layers' is the old form, with type: {layer.type}, 'layer' takes a type in quotes"
        return PrototxtError(path, line, f"layer '{layer.name}': {what}")
    if layer.old and layer.type.isupper() and layer.type not in messages.ENUMS["LayerType"]:
        return _old_type(path, text, line, layer.type, layer)
    about = about_type(layer.type) if not layer.old and layer.type else None
    if about:
        return PrototxtError(path, layer.type_line, f"layer '{layer.name}': {about}")
    return PrototxtError(path, line, f"layer '{layer.name}' ({layer.type}): {what}")


def _old_type(path: Path, text: str, line: int, kind: str, layer: _Layer | None = None) -> PrototxtError:
    layer = layer or _layer_around(text, line, "type")
    line = layer.type_line or line if layer else line
    known = sorted(name for name, number in messages.ENUMS["LayerType"].items() if number)
    today = kind if any(c.islower() for c in kind) else "".join(word.capitalize() for word in kind.split("_"))
    about = about_type(today)
    hint = about.split(" (known:")[0] if about else f'layer {{ type: "{today}" }} is today\'s form'
    name = f"layer '{layer.name}': " if layer else ""
    what = f"{name}type {kind} is none of the old form's, layers {{ }} (known: {', '.join(known)}); {hint}"
    return PrototxtError(path, line, what)


def to_text(message: Any) -> str:
    """Prototxt text of a message, shaped as Caffe users write it."""
    return extensions.plain(str(text_format.MessageToString(message)))


def write(path: str | Path, message: Any, header: str = "") -> None:
    """Write ``message`` to ``path`` as prototxt, ``header`` lines first as ``#`` comments."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    write_text(path, comment + to_text(message))
