"""``upgrade_net_proto_text``, ``upgrade_net_proto_binary``, ``upgrade_solver_proto_text``: upgrade old files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from siamplex.dropin.gflags import parse
from siamplex.dropin.glog import info
from siamplex.errors import InputError, PrototxtError, UsageError
from siamplex.run.durable import atomic_file
from siamplex.schema import messages, prototxt
from siamplex.schema.file_kinds import CAFFEMODEL, kind_of
from siamplex.schema.instead import instead
from siamplex.schema.messages import enum_name
from siamplex.schema.upgrade import needs_upgrade, upgrade_net

NET_TEXT, NET_BINARY, SOLVER_TEXT = (
    "upgrade_net_proto_text", "upgrade_net_proto_binary", "upgrade_solver_proto_text",
)  # fmt: skip
_SOLVER_TYPES = {
    "SGD": "SGD", "NESTEROV": "Nesterov", "ADAGRAD": "AdaGrad", "RMSPROP": "RMSProp", "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}  # fmt: skip


def net_text(arguments: Sequence[str]) -> None:
    """A net's prototxt.  Raises UsageError, PrototxtError, InputError or StorageError."""
    source, target = _files(NET_TEXT, arguments)
    parsed = prototxt.read(source, "NetParameter")
    if not parsed.upgraded:
        info(f"File already in latest proto format: {source}", NET_TEXT)
    prototxt.write(target, parsed.message)
    info(f"Wrote upgraded NetParameter text proto to {target}", NET_TEXT)


def net_binary(arguments: Sequence[str]) -> None:
    """A caffemodel; arrays stay as they are.  Raises UsageError, PrototxtError, InputError or StorageError."""
    source, target = _files(NET_BINARY, arguments)
    kind = kind_of(source)
    if kind is None or kind.name != CAFFEMODEL:
        found = instead(source, CAFFEMODEL, kind.words if kind else "something else")
        raise InputError(source, "a caffemodel", found)
    net = messages.NetParameter()
    try:
        net.ParseFromString(source.read_bytes())
    except OSError as error:
        raise InputError(source, "a readable caffemodel", error.strerror or str(error)) from None
    except DecodeError:
        raise InputError(source, "a whole caffemodel", "a file that breaks off") from None
    if not needs_upgrade(net):
        info(f"File already in latest proto format: {source}", NET_BINARY)
    upgrade_net(net, {}, (), lambda what, *_: PrototxtError(source, None, what))
    with atomic_file(target) as handle:
        handle.write(net.SerializeToString())
    info(f"Wrote upgraded NetParameter binary proto to {target}", NET_BINARY)


def solver_text(arguments: Sequence[str]) -> None:
    """A solver's prototxt: ``solver_type: NESTEROV`` becomes ``type: "Nesterov"``; nets in it become today's too.

    Raises UsageError, PrototxtError, InputError or StorageError.
    """
    source, target = _files(SOLVER_TEXT, arguments)
    parsed = prototxt.read(source, "SolverParameter")
    p = parsed.message
    if not p.HasField("solver_type"):
        info(f"File already in latest proto format: {source}", SOLVER_TEXT)
    else:
        if p.HasField("type"):
            raise parsed.error("give solver_type, the old form, or type, not both", "solver_type", 0)
        p.type = _SOLVER_TYPES[enum_name(p, "solver_type")]
        p.ClearField("solver_type")
    prototxt.write(target, p)
    info(f"Wrote upgraded SolverParameter text proto to {target}", SOLVER_TEXT)


def _files(tool: str, arguments: Sequence[str]) -> tuple[Path, Path]:
    words = parse(tool, arguments, {}).words
    if len(words) != 2:
        raise UsageError(f"{tool}: expected OLD_FILE NEW_FILE, found {len(words)}")
    return Path(words[0]), Path(words[1])
