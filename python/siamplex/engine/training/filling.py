"""Loading weights files into a run's nets, and refusing frozen layers that no file fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from siamplex.engine.net.net import Net
from siamplex.engine.training.snapshot import is_lean
from siamplex.schema.blobs import Array


def own_layers(test: Net, train: Net) -> set[str]:
    """Layers whose arrays a test net does not share with the train net; snapshots do not hold them."""
    return {node.name for node in test.nodes if node.params} - {node.name for node in train.nodes}


def load(train: Net, tests: Sequence[Net], weights: Mapping[str, Sequence[Array]], path: Path) -> list[str]:
    """Load a file's arrays into the train net, and into test nets the layers that they do not share with it.

    Returns the names of layers filled.  Raises InputError.
    """
    filled = train.load(weights, path)
    for test in tests:
        own = own_layers(test, train)
        filled += test.load({name: arrays for name, arrays in weights.items() if name in own}, path)
    return filled


def check_filled(
    train: Net, tests: Sequence[Net], given: Sequence[Path], allowed: bool, option: str, say: Callable[[str], None]
) -> list[str]:
    """Refuse layers that keep their fillers' values although they must not (:mod:`~siamplex.engine.net.unfilled`).

    ``given`` are the files that were loaded.  With ``allowed`` the layers are only logged; ``option`` is the command
    line option that the error names for it.  Returns the names of the allowed layers.  Raises PrototxtError.
    """
    shared = {node.name for node in train.nodes}
    names: list[str] = []
    for net in (train, *tests):
        found = net.unfilled() if net is train else net.unfilled(learning=False, elsewhere=shared)
        if found and not allowed:
            raise net.refuse_unfilled(found, given, option, lean_hint(given))
        if found:
            say(f"not filled by any file: {', '.join(f'{f.layer} ({f.holds})' for f in found)}")
            names += [f.layer for f in found]
    return names


def lean_hint(given: Sequence[Path]) -> str:
    """A hint naming the given files that are lean (leave image tables out); empty where there are none."""
    lean = [str(path) for path in given if is_lean(path)]
    return f" ({', '.join(lean)}: a lean snapshot, which leaves image tables out)" if lean else ""
