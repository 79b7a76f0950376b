"""Saving a run and taking it up again, with the same numbers as if nothing had come between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from siamplex.durable import sha256
from siamplex.engine import gram_file
from siamplex.engine import snapshot as snapshots
from siamplex.engine.net import values
from siamplex.engine.origin import settings_hash
from siamplex.engine.snapshot import Manifest, SnapshotPaths
from siamplex.errors import InputError, TrainingError, UsageError
from siamplex.schema.blobs import Array
from siamplex.schema.bounds import here_or_beside
from siamplex.schema.weights import read_caffemodel, read_solverstate, write_caffemodel, write_solverstate

if TYPE_CHECKING:
    from siamplex.engine.solver import Solver


class Checkpoint:
    """Where a run comes from, and its snapshots: written by :meth:`save`, taken up by :meth:`begin`."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._loaded: list[dict[str, str]] = []
        self._note = ""
        self._given = {path: sha256(path) for path in self._weight_files()}
        self._start = self._origin()
        self._resumed: tuple[Manifest, SnapshotPaths] | None = None

    # --- where a run comes from

    def begin(self) -> None:
        """Load the snapshot to go on from, or the weights to start with.  Raises InputError or UsageError."""
        solver, options = self._solver, self._solver.options
        if options.snapshot and options.weights:
            raise UsageError("give --snapshot to resume or --weights to fine-tune, not both")
        state = options.snapshot
        if options.resume and not state and solver.prefix:
            whole = snapshots.latest_whole(solver.prefix, self._start)
            state = whole.solverstate if whole else None
        if state:
            self._restore(state)
        else:
            self._load_given()

    @property
    def origin(self) -> dict[str, str]:
        """Hashes of all that shapes this run, as its manifests hold them."""
        return self._start

    def _weight_files(self) -> tuple[Path, ...]:
        return self._solver.options.weights or self._solver.file.weight_files()

    def _origin(self) -> dict[str, str]:
        """Hashes of all that shapes this run; how long it goes on and what it displays does not."""
        solver = self._solver
        origin = {"seed": str(solver.seed)}
        if solver.options.amp:
            origin["amp"] = "bfloat16"
        origin["solver"] = settings_hash(solver.file.message)
        for number, net in enumerate(solver.net_sources):
            origin[f"net{number}"] = net.hash
        for number, path in enumerate(self._weight_files()):
            origin[f"weights{number}"] = self._given[path]
        for key, layer in solver.data_layers():
            origin[key] = layer.source.fingerprint()
        return origin

    def _load_given(self) -> None:
        for path in self._weight_files():
            self._load_weights(path, self._given[path])

    def _load_weights(self, path: Path, digest: str) -> None:
        net = self._solver.net
        filled = net.load(read_caffemodel(path), path)
        self._loaded.append({"path": str(path), "sha256": digest})
        self._note = self._note or snapshots.note_of(path)
        if not filled:
            raise InputError(path, f"layers of net '{net.name}'", "none of them")
        self._solver.say(f"weights from {path}: {', '.join(filled)}")

    # --- saving

    def save(self, stopping: bool = False) -> SnapshotPaths:
        """Write caffemodel, solverstate and manifest for the current iteration.

        ``stopping`` says that an uninterrupted run would have no snapshot here: Gram forms are then
        kept as they are too.  Raises TrainingError where weights are not finite any more.
        """
        solver = self._solver
        if not solver.prefix:
            raise solver.file.source.error("snapshot_prefix is missing")
        paths = SnapshotPaths.of(solver.prefix, solver.iteration)
        if not solver.team.leads:
            if solver.shortcut:
                solver.shortcut.settle()
            solver.team.wait()
            return paths
        solver.watcher.saving(paths)
        paths.manifest.unlink(missing_ok=True)  # it may vouch for an earlier run's files
        gram = None
        if solver.shortcut:
            if stopping and solver.shortcut.grams:
                gram = snapshots.entry(paths.gram, gram_file.write(paths.gram, solver.shortcut.grams))
            solver.shortcut.settle()
        for parameter in solver.net.parameters:
            if parameter.lr_mult and not bool(torch.isfinite(parameter.tensor).all()):
                raise TrainingError(solver.diverged("others", f"finite weights in {parameter.label}"))
        left_out = self._left_out()
        model = write_caffemodel(
            paths.caffemodel,
            solver.net.name,
            [(head, arrays) for head, arrays in solver.net.owned() if head.name not in left_out],
        )
        state = write_solverstate(
            paths.solverstate,
            solver.iteration,
            str(paths.caffemodel),
            self._histories(left_out),
            solver.rate.current_step,
        )
        Manifest(
            iteration=solver.iteration,
            seed=solver.seed,
            caffemodel=snapshots.entry(paths.caffemodel, model),
            solverstate=snapshots.entry(paths.solverstate, state),
            cursors={key: layer.source.position for key, layer in solver.data_layers()},
            weights=self._loaded,
            origin=self._start,
            note=self._note,
            lean=bool(left_out),
            growths=[list(growth) for growth in solver.shortcut.growths] if solver.shortcut else [],
            in_full=solver.in_full,
            gram=gram,
            shown=solver.mean.state(),
            tested=solver.tested_at == solver.iteration,
        ).write(paths.manifest)
        self._drop_old_states()
        solver.team.wait()
        return paths

    def _left_out(self) -> set[str]:
        """Frozen Embed tables that a lean snapshot need not repeat."""
        if not self._solver.options.lean or not self._loaded:
            return set()
        return {
            node.name
            for node in self._solver.net.nodes
            if node.layer.spec.type == "Embed" and all(p.lr_mult == 0 for p in node.params)
        }

    def _histories(self, left_out: set[str]) -> Iterator[Array]:
        for index, parameter in enumerate(self._solver.net.parameters):
            if parameter.layer in left_out:
                yield np.empty(0, np.float32)
            else:
                yield values(self._solver.sgd.history(index))

    def _drop_old_states(self) -> None:
        solver, keep = self._solver, self._solver.options.keep_states
        earlier = [n for n in snapshots.iterations(solver.prefix) if n < solver.iteration]
        for iteration in earlier:  # nothing resumes from there bit for bit any more
            SnapshotPaths.of(solver.prefix, iteration).gram.unlink(missing_ok=True)
        if keep:
            for iteration in snapshots.iterations(solver.prefix)[:-keep]:
                SnapshotPaths.of(solver.prefix, iteration).solverstate.unlink(missing_ok=True)

    # --- taking up again

    def _restore(self, path: Path) -> None:
        solver = self._solver
        paths = SnapshotPaths.beside(path)
        state = read_solverstate(path)
        own = paths.manifest.exists()
        if own:
            manifest = snapshots.verify(paths)
            self._note = manifest.note
            for started in manifest.weights if manifest.lean else ():
                if Path(started["path"]) not in solver.options.weights:
                    solver.file.source.bounds.check(started["path"], paths.manifest)
                if sha256(started["path"]) != started["sha256"]:
                    raise InputError(started["path"], "the weights this run started from", "other bytes")
                self._load_weights(Path(started["path"]), started["sha256"])
            self._loaded = manifest.weights
            self._start = manifest.origin
            self._resumed = manifest, paths
            model = paths.caffemodel
            solver.seed = self._check_seed(paths.manifest, manifest.seed)
            self._seek(manifest)
            solver.in_full = manifest.in_full
            solver.tested_at = manifest.iteration if manifest.tested else None
        else:  # real Caffe's: data are read from the beginning, as Caffe would
            solver.say(f"{path} has no manifest: resuming as Caffe does, from the first record")
            model = self._model_of(path, state.learned_net) if state.learned_net else paths.caffemodel
            self._load_given()
        solver.net.load(read_caffemodel(model), model, own)
        self._restore_history(path, state.history)
        solver.iteration = state.iteration
        solver.rate.current_step = state.current_step
        solver.say(f"resumed from {path} at iteration {solver.iteration}")

    def _model_of(self, path: Path, named: str) -> Path:
        """The caffemodel a solverstate names: of the working folder as in Caffe, or else beside it."""
        beside = path.parent / Path(named).name
        found = here_or_beside(named, beside, path)
        if found != beside:
            self._solver.file.source.bounds.check(found, path)
        return found

    def _seek(self, manifest: Manifest) -> None:
        for key, layer in self._solver.data_layers():
            layer.source.seek(manifest.cursors.get(key, 0))

    def retrace(self) -> None:
        """With its shortcut taken again, bring a resumed run to the very state it was saved in."""
        solver = self._solver
        if self._resumed is None or not solver.shortcut:
            return
        manifest, paths = self._resumed
        try:
            solver.shortcut.replay(manifest.growths)
        except (KeyError, IndexError, TypeError, ValueError):
            raise InputError(paths.manifest, "the batches that brought new images", "others") from None
        self._seek(manifest)
        if manifest.gram:
            if snapshots.is_as_said(paths.gram, manifest.gram):
                gram_file.read(paths.gram, solver.shortcut.grams)
            else:
                solver.say(f"{paths.gram} is gone: the last bits may differ from those of an unbroken run")

    def resume_mean(self) -> bool:
        """Take up the running mean of losses; False where there is none to take up."""
        try:
            return bool(self._resumed and self._solver.mean.restore(self._resumed[0].shown))
        except (KeyError, TypeError, ValueError):
            return False

    def _check_seed(self, path: Path, seed: int) -> int:
        options = self._solver.options
        asked = options.seed if options.seed is not None else self._solver.file.message.random_seed
        if asked >= 0 and asked != seed:
            raise InputError(path, f"a run of seed {asked}", f"seed {seed}")
        return seed

    def _restore_history(self, path: Path, history: Sequence[Array]) -> None:
        parameters: Sequence[Any] = self._solver.net.parameters
        if len(history) != len(parameters):
            raise InputError(path, f"{len(parameters)} momentum arrays", f"{len(history)}")
        for index, (parameter, array) in enumerate(zip(parameters, history, strict=True)):
            if array.size == 0 and parameter.lr_mult == 0:
                continue  # a lean snapshot's frozen table
            if array.size != parameter.tensor.numel():
                raise InputError(
                    path,
                    f"momentum of {tuple(parameter.tensor.shape)} for {parameter.label}",
                    f"{tuple(array.shape)}",
                )
            tensor = torch.from_numpy(np.array(array)).reshape(parameter.tensor.shape)
            self._solver.sgd.set_history(index, tensor.to(self._solver.device))
