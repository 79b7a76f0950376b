"""The settings that determine a run's numbers, so that two runs can be compared and their differences named.

Settings are strings by name: ``base_lr`` is ``0.0001``, ``layer 'fc4': inner_product_param.num_output`` is ``1024``,
``records of train:pair`` is a hash of a store's records, ``weights 1`` that of a caffemodel.  Paths are left out: the
content of a file counts, not its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siamplex.run.durable import sha256
from siamplex.schema import messages

Settings = dict[str, str]

# settings that determine how long a run goes on and what it displays, not what it computes
_NOT_SHAPING = frozenset(
    "max_iter display average_loss snapshot snapshot_prefix snapshot_after_train snapshot_diff snapshot_format "
    "solver_mode device_id test_interval test_iter test_initialization test_compute_loss debug_info weights "
    "random_seed".split()
)
_NETS = frozenset("net net_param train_net train_net_param test_net test_net_param".split())
_PATHS = frozenset("source mean_file root_folder".split())
_WEIGHTS = "weights "
_HASHED = ("records of ", _WEIGHTS, "mean of ")
_OPTIONAL = (_WEIGHTS, "records of test", "test net ")
_SHOWN = 4  # differences named


def solver_settings(solver: Any) -> Settings:
    """Settings of a SolverParameter with Caffe's defaults, without those for its length and its displays.

    With the poly policy the rate depends on ``max_iter``, which then counts.
    """
    left_out = _NOT_SHAPING | _NETS
    if solver.lr_policy == "poly":
        left_out = left_out - {"max_iter"}
    whole = messages.SolverParameter()
    whole.CopyFrom(solver)
    for field in whole.DESCRIPTOR.fields:  # a default counts the same whether written or not
        if _is_plain(field) and field.type != field.TYPE_STRING:
            setattr(whole, field.name, getattr(solver, field.name))
    for name in left_out:
        whole.ClearField(name)
    return dict(_leaves(whole, ""))


def net_settings(net: Any, prefix: str = "") -> Settings:
    """Settings of a NetParameter as written, layer by layer, without its name and its paths."""
    found: Settings = {}
    for number, layer in enumerate(net.layer):
        label = f"{prefix}layer '{layer.name}'"
        if f"{label}: type" in found:  # one of each phase
            label = f"{label} (number {number})"
        found[f"{label}: number"] = str(number)
        found |= dict(_leaves(layer, f"{label}: ", frozenset({"name"}) | _PATHS))
    rest = messages.NetParameter()
    rest.CopyFrom(net)
    rest.ClearField("layer")
    rest.ClearField("name")
    return found | dict(_leaves(rest, f"{prefix}net: "))


def _is_plain(field: Any) -> bool:
    return field.message_type is None and not _repeated(field)


def _repeated(field: Any) -> bool:
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def _leaves(message: Any, before: str, left_out: frozenset[str] = _PATHS) -> Iterator[tuple[str, str]]:
    """(name, value) of every scalar field that is set; fields of nested messages have dotted names."""
    for field, value in message.ListFields():
        if field.name in left_out:
            continue
        values = list(value) if _repeated(field) else [value]
        for number, one in enumerate(values):
            name = f"{before}{field.name}" + (f"[{number}]" if len(values) > 1 else "")
            if field.message_type is not None:
                yield from _leaves(one, f"{name}.", left_out)
            elif field.enum_type is not None:
                yield name, str(field.enum_type.values_by_number[one].name)
            else:
                yield name, _text(one)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return next(t for t in (f"{value:.{digits}g}" for digits in range(6, 18)) if _float32(t) == _float32(value))
    return value.hex() if isinstance(value, bytes) else str(value)


def _float32(value: object) -> bytes:
    return np.float32(value).tobytes()  # type: ignore[arg-type]


def file_settings(weights: Iterable[tuple[Path, str]], records: Mapping[str, str]) -> Settings:
    """Hashes of the weights a run starts from, (path, SHA-256), and of its stores' records by data layer."""
    found = {f"weights {number}": digest for number, (_, digest) in enumerate(weights, 1)}
    return found | {f"records of {name}": digest for name, digest in records.items()}


def mean_files(net: Any, find: Any) -> Settings:
    """Hashes of the mean files that a net's layers name; ``find`` turns a name into a path."""
    return {
        f"mean of layer '{layer.name}'": sha256(find(str(layer.transform_param.mean_file)))
        for layer in net.layer
        if layer.HasField("transform_param") and layer.transform_param.mean_file
    }


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """How two runs' settings differ, in words: ``base_lr 0.0001 there, 0.01 here``; solver first, then data, then nets.

    Weights are compared only where both runs started from weights: a run from a snapshot has none.  The data of tests
    are compared only where both runs test.
    """
    passed_over = tuple(
        kind for kind in _OPTIONAL if not all(any(name.startswith(kind) for name in side) for side in (there, here))
    )
    found = []
    for name in sorted({*there, *here}, key=_rank):
        if there.get(name) == here.get(name) or name.startswith(passed_over):
            continue
        if name.startswith(_HASHED):
            found.append(f"other {name}")
        else:
            found.append(f"{name} {there.get(name, 'not set')} there, {here.get(name, 'not set')} here")
    return found


def _rank(name: str) -> tuple[int, str]:
    of_a_net = ": " in name
    return (2 if of_a_net else 1 if name.startswith(_HASHED) else 0, name)


def in_words(found: list[str]) -> str:
    """The first few differences, and the number of the others."""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
