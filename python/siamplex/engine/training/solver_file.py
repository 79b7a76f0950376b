"""Reading a solver prototxt: it checks the settings and finds the nets and weights files that they name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamplex.engine.training import update_rules
from siamplex.schema import prototxt
from siamplex.schema.bounds import Bounds
from siamplex.schema.prototxt import ANYWHERE, Prototxt

_SUPPORTED = frozenset(
    "net net_param train_net train_net_param test_net test_net_param train_state test_state "
    "test_iter test_interval test_compute_loss test_initialization base_lr display average_loss "
    "max_iter iter_size lr_policy gamma power momentum weight_decay regularization_type stepsize "
    "stepvalue clip_gradients snapshot snapshot_prefix snapshot_diff snapshot_format solver_mode device_id "
    "random_seed type solver_type snapshot_after_train layer_wise_reduce weights debug_info "
    "delta momentum2 rms_decay".split()  # those of other solver types are ignored, as in Caffe
)


@dataclass(frozen=True)
class NetSource:
    """A net that a solver names: its prototxt, its message and the path to it there, its additional NetState."""

    source: Prototxt
    message: Any
    path: tuple[str | int, ...]
    state: Any


class SolverFile:
    """The solver at ``path``.  Raises PrototxtError, naming the line, for anything not supported.

    Paths in it must lie within :meth:`Bounds.of` the file, unless ``outside`` is set.
    """

    def __init__(self, path: str | Path, outside: bool = False) -> None:
        self.source = prototxt.read(path, "SolverParameter", ANYWHERE if outside else Bounds.of(path))
        self.message = self.source.message
        self._check_fields()

    def _check_fields(self) -> None:
        p, source = self.message, self.source
        for descriptor, _ in p.ListFields():
            if descriptor.name not in _SUPPORTED:
                raise source.error(f"field '{descriptor.name}' is not supported", descriptor.name, 0)
        update_rules.check(source)
        for field in ("base_lr", "max_iter", "lr_policy"):
            if not p.HasField(field):
                raise source.error(f"{field} is missing")
        if not math.isfinite(p.base_lr) or p.base_lr < 0:
            raise source.error(f"base_lr {p.base_lr:g} is not a rate", "base_lr", 0)
        for field in ("max_iter", "snapshot", "display", "test_interval"):
            if getattr(p, field) < 0:
                raise source.error(f"{field} {getattr(p, field)} is negative", field, 0)
        if p.average_loss < 1:
            raise source.error("average_loss must be positive", "average_loss", 0)

    @property
    def prefix(self) -> str:
        """snapshot_prefix, checked against the bounds; empty where there is none."""
        prefix = str(self.message.snapshot_prefix)
        if prefix:
            self.source.bounds.check(prefix, self.source.path)
        return prefix

    def weight_files(self) -> tuple[Path, ...]:
        """The files ``weights`` names."""
        found = []
        for index, given in enumerate(self.message.weights):
            for name in filter(None, str(given).split(",")):
                path = self.source.find(name)
                if not path.exists():
                    what = f"weights '{name}': expected a caffemodel, found {self.source.missing(name)}"
                    raise self.source.error(what, "weights", index)
                found.append(path)
        return tuple(found)

    def nets(self) -> Iterator[NetSource]:
        """The train net, then each test net."""
        main: tuple[Prototxt, Any, tuple[str | int, ...]] | None = None
        for field, index, state in self.nets_stated():
            if main is None or field.startswith("test_"):
                net = self._net(field, index)
                main = main or net
            else:
                net = main
            yield NetSource(*net, state)

    def nets_stated(self) -> list[tuple[str, int, Any]]:
        """Field, place in it and state of the train net and of each test net.  No file is opened."""
        p, source = self.message, self.source
        shared = [name for name in ("net", "net_param") if p.HasField(name)]
        own = [name for name in ("train_net", "train_net_param") if p.HasField(name)]
        if len(shared) + len(own) != 1:
            raise source.error(
                f"expected exactly one of net, net_param, train_net, train_net_param, found {len(shared) + len(own)}"
            )
        main = own[0] if own else shared[0]
        tests = [("test_net_param", i) for i in range(len(p.test_net_param))]
        tests += [("test_net", i) for i in range(len(p.test_net))]
        generic = len(p.test_iter) - len(tests)
        if generic < 0:
            raise source.error(f"{len(tests)} test nets with {len(p.test_iter)} test_iter", "test_iter", 0)
        if generic and not shared:
            raise source.error(f"{len(p.test_iter)} test_iter with {len(tests)} test nets", "test_iter", 0)
        tests += [(main, 0)] * generic
        if p.test_state and len(p.test_state) != len(tests):
            raise source.error(f"{len(p.test_state)} test states for {len(tests)} test nets", "test_state", 0)
        if tests and p.test_interval <= 0:
            raise source.error("test_iter needs a test_interval", "test_iter", 0)
        states = p.test_state or [None] * len(tests)
        train = (main, 0, p.train_state if p.HasField("train_state") else None)
        return [train, *((field, i, state) for (field, i), state in zip(tests, states, strict=True))]

    def _net(self, field: str, index: int) -> tuple[Prototxt, Any, tuple[str | int, ...]]:
        value = getattr(self.message, field)
        if field in ("test_net", "test_net_param"):
            value = value[index]
        if field.endswith("param"):
            return self.source, value, (field, index)
        path = self.source.find(value)
        if not path.exists():
            what = f"{field} '{value}': expected a net prototxt, found {self.source.missing(value)}"
            raise self.source.error(what, field, index)
        source = prototxt.read(path, "NetParameter", self.source.bounds)
        return source, source.message, ()


def nets_named(solver: Prototxt) -> Iterator[tuple[str, NetSource]]:
    """The TRAIN net and the first TEST net that a solver names, without checking its settings.

    Without test nets, ``net`` serves both phases.  Raises PrototxtError where no net is named or a file is missing.
    """
    p = solver.message

    def of(field: str, state: Any) -> NetSource:
        value = getattr(p, field)
        repeated = field in ("test_net", "test_net_param")
        value = value[0] if repeated else value
        if field.endswith("param"):
            return NetSource(solver, value, (field, 0), state)
        path = solver.find(value)
        if not path.exists():
            what = f"{field} '{value}': expected a net prototxt, found {solver.missing(value)}"
            raise solver.error(what, field, 0)
        source = prototxt.read(path, "NetParameter", solver.bounds)
        return NetSource(source, source.message, (), state)

    def given(*fields: str) -> str | None:
        return next((name for name in fields if (len(getattr(p, name)) if name.startswith("test_") else
                                                 p.HasField(name))), None)  # fmt: skip

    train = given("train_net", "train_net_param", "net", "net_param")
    if train is None:
        raise solver.error("expected one of net, net_param, train_net, train_net_param, found none")
    yield "TRAIN", of(train, p.train_state if p.HasField("train_state") else None)
    test = given("test_net_param", "test_net", "net", "net_param")
    if test is not None:
        yield "TEST", of(test, p.test_state[0] if p.test_state else None)
