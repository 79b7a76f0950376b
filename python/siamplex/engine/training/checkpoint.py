"""Writing a checkpoint: caffemodel, solverstate, and last the manifest that makes the snapshot valid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from siamplex.engine.net.arrays import values
from siamplex.engine.net.carrying import as_text
from siamplex.engine.net.node import Parameter
from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.model_files import check_names, write_model
from siamplex.engine.training.snapshot import Manifest, SnapshotPaths
from siamplex.errors import TrainingError
from siamplex.run.durable import discard
from siamplex.schema.blobs import Array
from siamplex.schema.messages import enum_name
from siamplex.schema.weights import write_solverstate

if TYPE_CHECKING:
    from siamplex.engine.training.solver import Solver


class Checkpoint:
    """Writes a run's snapshots."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        p = solver.file.message
        self._hdf5 = enum_name(p, "snapshot_format") == "HDF5"
        if self._hdf5 and solver.prefix and (p.snapshot or p.snapshot_after_train or solver.options.snapshot_at):
            check_names(solver.net)

    def save(self, stopping: bool = False) -> SnapshotPaths:
        """Write caffemodel, solverstate and manifest for the current iteration.

        ``stopping`` says that an uninterrupted run would have no snapshot here; the dual forms are then saved as
        well, so that the run resumes bit for bit.  Raises TrainingError where weights are no longer finite.
        """
        solver = self._solver
        if not solver.prefix:
            raise solver.file.source.error("snapshot_prefix is missing")
        paths = SnapshotPaths.of(solver.prefix, solver.iteration, self._hdf5)
        if not solver.group.is_rank_zero:
            if solver.plan:
                solver.plan.settle()
            solver.group.wait()
            return paths
        solver.watcher.saving(paths)
        discard(paths.manifest)  # it may vouch for an earlier run's files
        gram = None
        if solver.plan:
            written = solver.plan.write_state(paths.gram) if stopping else None
            gram = snapshots.entry(paths.gram, written) if written else None
            solver.plan.settle()
        for parameter in solver.net.parameters:
            if parameter.lr_mult and not bool(torch.isfinite(parameter.tensor).all()):
                raise TrainingError(solver.diverged(None, parameter.label))
        left_out = self._left_out()
        updates = self._update_of if solver.file.message.snapshot_diff else None
        model = write_model(paths.caffemodel, solver.net, left_out, updates, self._hdf5)
        state = write_solverstate(
            paths.solverstate,
            solver.iteration,
            str(paths.caffemodel),
            self._histories(left_out),
            solver.rate.current_step,
            self._hdf5,
        )
        Manifest(
            iteration=solver.iteration,
            seed=solver.seed,
            caffemodel=snapshots.entry(paths.caffemodel, model),
            solverstate=snapshots.entry(paths.solverstate, state),
            carried={key: as_text(layer.carried) for key, layer in solver.carrying_layers() if layer.carried},
            cursors={key: layer.source.position for key, layer in solver.data_layers()},
            weights=solver.start.loaded,
            segments=solver.start.course.up_to(solver.iteration).as_json(),
            note=solver.start.note,
            lean=bool(left_out),
            unfilled=solver.start.unfilled,
            growths=[list(growth) for growth in solver.plan.growths] if solver.plan else [],
            in_full=solver.in_full,
            gram=gram,
            shown=solver.mean.state(),
            tested=solver.tested_at == solver.iteration,
        ).write(paths.manifest)
        self._drop_old_states()
        solver.group.wait()
        return paths

    def _update_of(self, parameter: Parameter) -> Array:
        """The last update of a parameter: the amount subtracted from it."""
        index = next(i for i, one in enumerate(self._solver.sgd.parameters) if one is parameter)
        return values(self._solver.sgd.last_update(index))

    def _left_out(self) -> set[str]:
        """Frozen Embed tables that a lean snapshot leaves out."""
        if not self._solver.options.lean or not self._solver.start.loaded:
            return set()
        held = self._solver.start.held
        return {
            node.name
            for node in self._solver.net.nodes
            if node.layer.spec.type == "Embed" and all(p.lr_mult == 0 and p.layer in held for p in node.params)
        }

    def _histories(self, left_out: set[str]) -> Iterator[Array]:
        sgd = self._solver.sgd
        for index, parameter in enumerate(sgd.parameters * sgd.kept):
            if parameter.layer in left_out:
                yield np.empty(0, np.float32)
            else:
                yield values(sgd.history(index))

    def _drop_old_states(self) -> None:
        solver, keep = self._solver, self._solver.options.keep_states
        mine = snapshots.own(solver.prefix, solver.start.course)
        for iteration in (n for n in mine if n < solver.iteration):  # not needed: the run has gone past them
            discard(SnapshotPaths.of(solver.prefix, iteration).gram)
        if keep:
            for iteration in [n for n in mine if n <= solver.iteration][:-keep]:
                discard(SnapshotPaths.of(solver.prefix, iteration).solverstate)
