"""Whether a grid fits a set of faces: checked before anything is computed; errors name the grid's line."""

from __future__ import annotations

from siamplex.engine.net.net import Net
from siamplex.errors import PrototxtError, UsageError
from siamplex.multiverse.grid import Grid
from siamplex.multiverse.run_nets import RunNets
from siamplex.pairs.build import OpenedStore
from siamplex.weights.initial import CONVOLUTIONS

_ARCHITECTURE = ("pool3", "new_lr_mult", "dropout", "margin")
_HOLLOW = [(name, index) for name in (*CONVOLUTIONS, "fc4", "fc5", "fc6") for index in (0, 1)]


def check(grid: Grid, nets: RunNets, store: OpenedStore) -> None:
    """Raise InputError where a value makes no valid net, or there are too few subjects for the folds."""
    subjects, emotions = store.index.subjects, {entry.emotion for entry in store.index.entries}
    if grid.folds > len(subjects):
        expected = f"at most {len(subjects)} folds, one for each subject"
        raise grid.wrong(expected, str(grid.folds), "folds")
    if len(emotions) < 2:
        raise grid.wrong("faces of at least two emotions", f"{len(emotions)}")
    for name in _ARCHITECTURE:
        for value in grid.dimensions[name]:
            try:
                nets.arch_of({name: value})
            except UsageError as error:
                raise grid.wrong(f"a value of {name} that a net can have", str(error), "dimensions", name) from None
    for pool3 in grid.dimensions["pool3"]:
        try:
            Net(nets.deploy(bool(pool3)), "TEST", hollow=_HOLLOW)
        except PrototxtError as error:
            expected = f"a net that {nets.arch.size} pixels can pass"
            raise grid.wrong(expected, f"pool3 = {str(pool3).lower()}: {error}", "dimensions", "pool3") from None
