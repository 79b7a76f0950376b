"""Checks before the binary runs: databases exist, and weights files fill every layer that never learns.

Caffe matches layers with files by name and says nothing about a layer that no file has; for a missing database it names
neither path nor layer.  Nets are parsed here, not built.  Nets that this package cannot read and missing weights are
left to Caffe's own errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from siamplex.engine.net.net_kinds import check_deploy, check_train_val
from siamplex.engine.net.phase import included, net_state
from siamplex.engine.net.unfilled import refusal, unfilled
from siamplex.engine.training.filling import lean_hint
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.errors import SiamplexError
from siamplex.run.progress import say
from siamplex.schema import prototxt
from siamplex.schema.file_kinds import LEVELDB, LMDB, MISSING, kind_of
from siamplex.schema.instead import instead
from siamplex.schema.messages import enum_name
from siamplex.schema.prototxt import Prototxt
from siamplex.schema.weights import read_caffemodel

_Place = tuple[str | int, ...]
_ARTICLE = {LMDB: "an LMDB", LEVELDB: "a LevelDB"}


def check_solver(
    solver: Prototxt, weights: Sequence[Path], snapshot: Path | None, allow_unfilled: bool = False
) -> None:
    """Refuse a training with an unreadable database, or with a frozen layer that no weights file fills.

    ``weights`` are those of the command, else the solver's own; a ``snapshot`` stands for its caffemodel.
    Raises PrototxtError, and InputError for a file that is there and no caffemodel.
    """
    if snapshot:
        given = [SnapshotPaths.beside(snapshot).caffemodel]
    else:
        given = list(weights) or [
            solver.find(w) for named in solver.message.weights for w in str(named).split(",") if w
        ]
    filled = _layers_of(given)
    try:
        nets = list(_nets(solver))
    except SiamplexError as error:
        say(f"databases, and which layers the weights fill, were not looked at ({error})")
        return
    states = [
        net_state("TRAIN" if learning else "TEST", message.state, *([state] if state is not None else []))
        for learning, _, message, _, state in nets
    ]
    for (learning, source, message, place, state), full in zip(nets, states, strict=True):
        if learning:
            check_train_val(source, message, place, state)
        _check_databases(source, message, place, full)
    shared: set[str] = set()
    for (learning, source, message, place, _), full in zip(nets, states, strict=True):
        found = [] if filled is None or allow_unfilled else unfilled(message, full, filled | shared, learning)
        if found:
            raise refusal(source, place, found, given, hint=lean_hint(given))
        if learning:
            shared = {str(layer.name) for layer in message.layer if included(layer, full)}


def _check_databases(source: Prototxt, message: Any, place: _Place, state: Any) -> None:
    """Refuse a Data layer whose source, of the working folder as in Caffe, is another thing than its backend says."""
    for index, layer in enumerate(message.layer):
        if layer.type != "Data" or not included(layer, state):
            continue
        name, backend = str(layer.data_param.source), enum_name(layer.data_param, "backend")
        wanted = LEVELDB if backend == "LEVELDB" else LMDB
        kind = kind_of(name)
        if kind is not None and kind.name != wanted:
            given = "" if layer.data_param.HasField("backend") else ", which a backend left out means"
            found = source.missing(name) if kind.name == MISSING else instead(name, wanted)
            what = f"layer '{layer.name}' (Data): source '{name}': expected {_ARTICLE[wanted]}{given}, found {found}"
            raise source.error(what, *place, "layer", index, "data_param", 0, "source", 0)


def check_tower(deploy: Path, weights: Path) -> None:
    """Refuse a tower with a layer that ``weights`` do not have.  Raises PrototxtError or InputError."""
    source = prototxt.read(deploy, "NetParameter")
    check_deploy(source)
    found = unfilled(source.message, net_state("TEST", source.message.state), set(read_caffemodel(weights)), False)
    if found:
        raise refusal(source, (), found, [weights], option="")


def _layers_of(given: Sequence[Path]) -> set[str] | None:
    """Names of the layers in all the files; None where one is not there."""
    if not all(path.is_file() for path in given):
        return None
    return {name for path in given for name in read_caffemodel(path)}


def _nets(solver: Prototxt) -> Iterator[tuple[bool, Prototxt, Any, _Place, Any]]:
    """Whether it is trained, its file, message, place in it and further state: of the train net, then of test nets."""
    p = solver.message
    train = p.train_state if p.HasField("train_state") else None
    main = None
    for field in ("net", "train_net", "net_param", "train_net_param"):
        if p.HasField(field):
            main = _net(solver, field, getattr(p, field), (field, 0))
            yield True, *main, train
            break
    tests = [_net(solver, "test_net_param", net, ("test_net_param", i)) for i, net in enumerate(p.test_net_param)]
    tests += [_net(solver, "test_net", name, ("test_net", i)) for i, name in enumerate(p.test_net)]
    if main is not None:
        tests += [main] * (len(p.test_iter) - len(tests))
    for index, test in enumerate(tests):
        yield False, *test, p.test_state[index] if index < len(p.test_state) else None


def _net(solver: Prototxt, field: str, value: Any, place: _Place) -> tuple[Prototxt, Any, _Place]:
    if field.endswith("param"):
        return solver, value, place
    source = prototxt.read(solver.find(value), "NetParameter", solver.bounds)
    return source, source.message, ()
