"""Training: Caffe's solver loop over a net, with its displays, tests and snapshots."""

from __future__ import annotations

import math
import secrets
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from siamplex.durable import sha256
from siamplex.engine import snapshot as snapshots
from siamplex.engine.feature_table import TableFull
from siamplex.engine.layer import Context
from siamplex.engine.layers.data import Data
from siamplex.engine.loss_log import LossLog
from siamplex.engine.net import Net, values
from siamplex.engine.origin import net_hash, settings_hash
from siamplex.engine.rates import RatePolicy
from siamplex.engine.run_lock import run_lock
from siamplex.engine.sgd import SGD
from siamplex.engine.shortcut import Shortcut, take_shortcut
from siamplex.engine.snapshot import Manifest, SnapshotPaths
from siamplex.engine.stopping import StopRequest
from siamplex.engine.twins import merge_twins
from siamplex.errors import InputError, Stopped, TrainingError, UsageError
from siamplex.progress import Progress, say
from siamplex.schema import prototxt
from siamplex.schema.blobs import Array
from siamplex.schema.messages import enum_name
from siamplex.schema.prototxt import Prototxt
from siamplex.schema.weights import (
    read_caffemodel,
    read_solverstate,
    write_caffemodel,
    write_solverstate,
)

_SUPPORTED = frozenset(
    "net net_param train_net train_net_param test_net test_net_param train_state test_state "
    "test_iter test_interval test_compute_loss test_initialization base_lr display average_loss "
    "max_iter iter_size lr_policy gamma power momentum weight_decay regularization_type stepsize "
    "stepvalue clip_gradients snapshot snapshot_prefix snapshot_format solver_mode device_id "
    "random_seed type solver_type snapshot_after_train layer_wise_reduce weights debug_info".split()
)


_EXPLODED = 1e6  # times the first loss


@dataclass(frozen=True)
class TrainOptions:
    """What the command line adds to a solver.

    ``snapshot_prefix`` and ``seed`` replace the solver's when given; ``snapshot_at`` adds
    iterations to its ``snapshot`` interval; ``lean`` leaves frozen tables that came from a weights
    file out of snapshots; ``keep_states`` keeps only the newest so many solverstates (0: all);
    ``shortcut`` lets a frozen prefix be computed once an image, where that is exact; ``amp``
    multiplies in bfloat16, which is not what Caffe computes.
    """

    weights: tuple[Path, ...] = ()
    snapshot: Path | None = None
    resume: bool = False
    device: str = "cpu"
    seed: int | None = None
    snapshot_prefix: str | None = None
    snapshot_at: frozenset[int] = frozenset()
    lean: bool = False
    keep_states: int = 0
    shortcut: bool = True
    amp: bool = False
    quiet: bool = False


class Solver:
    """One training run.  Raises PrototxtError, InputError or UsageError where it cannot be set up."""

    def __init__(self, solver_path: str | Path, options: TrainOptions | None = None) -> None:
        self.options = options = options or TrainOptions()
        self.source = source = prototxt.read(solver_path, "SolverParameter")
        self._p = p = source.message
        self._check_fields()
        self.seed = self._choose_seed()
        self.device = choose_device(options.device)
        self.prefix = options.snapshot_prefix or str(p.snapshot_prefix)
        self.rate = RatePolicy(source)
        self._net_sources = list(self._find_nets())
        train_source, message, path, state = self._net_sources[0]
        self.net = Net(
            train_source, "TRAIN", message=message, message_path=path, state=state,
            seed=self.seed, device=self.device,
        )  # fmt: skip
        self.net.learn()
        self.test_nets = [
            Net(
                test_source, "TEST", message=message, message_path=path, state=state,
                seed=self.seed, device=self.device, share_with=self.net,
            )
            for test_source, message, path, state in self._net_sources[1:]
        ]  # fmt: skip
        self.sgd = SGD(source, self.net.parameters)
        self.iteration = 0
        self._losses: list[float] = []
        self._smoothed = 0.0
        self._first_loss: float | None = None
        self._start_iteration = 0
        self._loaded: list[dict[str, str]] = []
        self._note = ""
        self._start: dict[str, str] = {}
        self._shortcut: Shortcut | None = None
        self._begin()

    # --- setting up

    def _check_fields(self) -> None:
        p, source = self._p, self.source
        for descriptor, _ in p.ListFields():
            if descriptor.name not in _SUPPORTED:
                raise source.error(f"field '{descriptor.name}' is not supported", descriptor.name, 0)
        if p.type.upper() != "SGD":
            raise source.error(f"solver type '{p.type}' is not supported (known: SGD)", "type", 0)
        if enum_name(p, "solver_type") != "SGD":
            raise source.error(f"solver type {enum_name(p, 'solver_type')} is not supported", "solver_type", 0)
        if enum_name(p, "snapshot_format") == "HDF5":
            raise source.error("snapshot_format HDF5 is not supported", "snapshot_format", 0)
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

    def _choose_seed(self) -> int:
        if self.options.seed is not None:
            return self.options.seed
        if self._p.random_seed >= 0:
            return int(self._p.random_seed)
        seed = secrets.randbelow(2**31)
        self._say(f"random_seed is not set: drew {seed}")
        return seed

    def _find_nets(self) -> Iterator[tuple[Prototxt, Any, tuple[str | int, ...], Any]]:
        """The train net, then each test net: source, message, its place in the source, state."""
        p, source = self._p, self.source
        shared = [name for name in ("net", "net_param") if p.HasField(name)]
        own = [name for name in ("train_net", "train_net_param") if p.HasField(name)]
        if len(shared) + len(own) != 1:
            raise source.error(
                f"expected exactly one of net, net_param, train_net, train_net_param, found {len(shared) + len(own)}"
            )
        main = self._net(own[0] if own else shared[0], 0)
        yield (*main, p.train_state if p.HasField("train_state") else None)
        tests = [self._net("test_net_param", i) for i in range(len(p.test_net_param))]
        tests += [self._net("test_net", i) for i in range(len(p.test_net))]
        generic = len(p.test_iter) - len(tests)
        if generic < 0:
            raise source.error(f"{len(tests)} test nets with {len(p.test_iter)} test_iter", "test_iter", 0)
        if generic and not shared:
            raise source.error(f"{len(p.test_iter)} test_iter with {len(tests)} test nets", "test_iter", 0)
        tests += [main] * generic
        if p.test_state and len(p.test_state) != len(tests):
            raise source.error(f"{len(p.test_state)} test states for {len(tests)} test nets", "test_state", 0)
        if tests and p.test_interval <= 0:
            raise source.error("test_iter needs a test_interval", "test_iter", 0)
        if p.test_interval and not tests:
            raise source.error("test_interval needs test_iter", "test_interval", 0)
        for i, test in enumerate(tests):
            yield (*test, p.test_state[i] if p.test_state else None)

    def _net(self, field: str, index: int) -> tuple[Prototxt, Any, tuple[str | int, ...]]:
        value = getattr(self._p, field)
        if field in ("test_net", "test_net_param"):
            value = value[index]
        if field.endswith("param"):
            return self.source, value, (field, index)
        source = prototxt.read(find(value, self.source.path), "NetParameter")
        return source, source.message, ()

    def _begin(self) -> None:
        options = self.options
        self._start = self._origin()
        if options.snapshot and options.weights:
            raise UsageError("give --snapshot to resume or --weights to fine-tune, not both")
        state = options.snapshot
        if options.resume and not state and self.prefix:
            whole = snapshots.latest_whole(self.prefix, self._start)
            state = whole.solverstate if whole else None
        if state:
            self._restore(state)
        else:
            for path in self._weight_files():
                self._load_weights(path)

    def _weight_files(self) -> tuple[Path, ...]:
        return self.options.weights or tuple(find(w, self.source.path) for w in self._p.weights)

    def _origin(self) -> dict[str, str]:
        """Hashes of all that shapes this run; how long it goes on and what it displays does not."""
        origin = {"seed": str(self.seed)}
        if self.options.amp:
            origin["amp"] = "bfloat16"
        origin["solver"] = settings_hash(self._p)
        for number, (_, message, _, _) in enumerate(self._net_sources):
            origin[f"net{number}"] = net_hash(message)
        for number, path in enumerate(self._weight_files()):
            origin[f"weights{number}"] = sha256(path)
        for key, layer in self._data_layers():
            origin[key] = layer.source.fingerprint()
        return origin

    def _load_weights(self, path: Path) -> None:
        filled = self.net.load(read_caffemodel(path), path)
        self._loaded.append({"path": str(path), "sha256": sha256(path)})
        self._note = self._note or snapshots.note_of(path)
        if not filled:
            raise InputError(path, f"layers of net '{self.net.name}'", "none of them")
        self._say(f"weights from {path}: {', '.join(filled)}")

    # --- snapshots

    def snapshot(self) -> SnapshotPaths:
        """Write caffemodel, solverstate and manifest for the current iteration."""
        if not self.prefix:
            raise self.source.error("snapshot_prefix is missing")
        if self._shortcut:
            self._shortcut.settle()
        for parameter in self.net.parameters:
            if parameter.lr_mult and not bool(torch.isfinite(parameter.tensor).all()):
                raise TrainingError(self._diverged("others", f"finite weights in {parameter.label}"))
        paths = SnapshotPaths.of(self.prefix, self.iteration)
        paths.manifest.unlink(missing_ok=True)  # it may vouch for an earlier run's files
        left_out = self._left_out()
        model = write_caffemodel(
            paths.caffemodel,
            self.net.name,
            [(head, arrays) for head, arrays in self.net.owned() if head.name not in left_out],
        )
        state = write_solverstate(
            paths.solverstate,
            self.iteration,
            str(paths.caffemodel),
            self._histories(left_out),
            self.rate.current_step,
        )
        Manifest(
            iteration=self.iteration,
            seed=self.seed,
            caffemodel=snapshots.entry(paths.caffemodel, model),
            solverstate=snapshots.entry(paths.solverstate, state),
            cursors={key: layer.source.position for key, layer in self._data_layers()},
            weights=self._loaded,
            origin=self._start,
            note=self._note,
            lean=bool(left_out),
        ).write(paths.manifest)
        self._drop_old_states()
        return paths

    def _left_out(self) -> set[str]:
        """Frozen Embed tables that a lean snapshot need not repeat."""
        if not self.options.lean or not self._loaded:
            return set()
        return {
            node.name
            for node in self.net.nodes
            if node.layer.spec.type == "Embed" and all(p.lr_mult == 0 for p in node.params)
        }

    def _histories(self, left_out: set[str]) -> Iterator[Array]:
        for index, parameter in enumerate(self.net.parameters):
            if parameter.layer in left_out:
                yield np.empty(0, np.float32)
            else:
                yield values(self.sgd.history(index))

    def _drop_old_states(self) -> None:
        keep = self.options.keep_states
        if keep:
            for iteration in snapshots.iterations(self.prefix)[:-keep]:
                SnapshotPaths.of(self.prefix, iteration).solverstate.unlink(missing_ok=True)

    def _data_layers(self) -> Iterator[tuple[str, Data]]:
        nets = [("train", self.net), *((f"test{i}", net) for i, net in enumerate(self.test_nets))]
        for label, net in nets:
            for node in net.nodes:
                if isinstance(node.layer, Data):
                    yield f"{label}:{node.name}", node.layer

    def _restore(self, path: Path) -> None:
        paths = SnapshotPaths.beside(path)
        state = read_solverstate(path)
        if paths.manifest.exists():
            manifest = snapshots.verify(paths)
            self._note = manifest.note
            for started in manifest.weights if manifest.lean else ():
                if sha256(started["path"]) != started["sha256"]:
                    raise InputError(started["path"], "the weights this run started from", "other bytes")
                self._load_weights(Path(started["path"]))
            self._loaded = manifest.weights
            self._start = manifest.origin
            model = paths.caffemodel
            self._check_seed(paths.manifest, manifest.seed)
            for key, layer in self._data_layers():
                layer.source.seek(manifest.cursors.get(key, 0))
        else:  # real Caffe's: data are read from the beginning, as Caffe would
            self._say(f"{path} has no manifest: resuming as Caffe does, from the first record")
            model = find(state.learned_net, path) if state.learned_net else paths.caffemodel
            for given in self._weight_files():
                self._load_weights(given)
        self.net.load(read_caffemodel(model), model)
        self._restore_history(path, state.history)
        self.iteration = state.iteration
        self.rate.current_step = state.current_step
        self._say(f"resumed from {path} at iteration {self.iteration}")

    def _check_seed(self, path: Path, seed: int) -> None:
        asked = self.options.seed if self.options.seed is not None else self._p.random_seed
        if asked >= 0 and asked != seed:
            raise InputError(path, f"a run of seed {asked}", f"seed {seed}")
        self.seed = seed

    def _restore_history(self, path: Path, history: Sequence[Array]) -> None:
        if len(history) != len(self.net.parameters):
            raise InputError(path, f"{len(self.net.parameters)} momentum arrays", f"{len(history)}")
        for index, (parameter, array) in enumerate(zip(self.net.parameters, history, strict=True)):
            if array.size == 0 and parameter.lr_mult == 0:
                continue  # a lean snapshot's frozen table
            if array.size != parameter.tensor.numel():
                raise InputError(
                    path,
                    f"momentum of {tuple(parameter.tensor.shape)} for {parameter.label}",
                    f"{tuple(array.shape)}",
                )
            tensor = torch.from_numpy(np.array(array)).reshape(parameter.tensor.shape)
            self.sgd.set_history(index, tensor.to(self.device))

    # --- training

    @property
    def finished(self) -> bool:
        """Whether the run stands at max_iter."""
        return bool(self.iteration >= self._p.max_iter)

    def solve(self) -> None:
        """Train to max_iter; writes PREFIX_losses.csv (and PREFIX_test.csv when there are tests).

        Raises UsageError while another run holds the prefix, Stopped after the snapshot that a SIGINT
        or SIGTERM asked for, TrainingError where the loss is no number any more.
        """
        if self.iteration > self._p.max_iter:
            raise UsageError(f"iteration {self.iteration} is past max_iter {self._p.max_iter}")
        with run_lock(self.prefix or "train"), StopRequest() as stop:
            self._solve(stop)

    def _solve(self, stop: StopRequest) -> None:
        p = self._p
        log = LossLog(Path(f"{self.prefix or 'train'}_losses.csv"), ["iteration", "loss", "lr"], self.iteration)
        tests = (
            LossLog(
                Path(f"{self.prefix or 'train'}_test.csv"),
                ["iteration", "net", "output", "value"],
                self.iteration,
            )
            if self.test_nets
            else None
        )
        self._take_shortcut()
        self._start_iteration = self.iteration
        self._losses.clear()
        self._smoothed = 0.0
        progress = Progress("train", int(p.max_iter) - self.iteration)
        if self.iteration == 0 and 0 in self.options.snapshot_at:
            self.snapshot()
        with log:
            while self.iteration < p.max_iter:
                self._test_when_due(tests)
                shown = self._step()
                if shown:
                    log.row(self.iteration - 1, self._smoothed, shown[1])
                if not self.options.quiet:
                    progress.step(note=f"loss {self._smoothed:.6g}")
                if self._snapshot_due():
                    self.snapshot()
                if stop.number is not None and self.iteration < p.max_iter:
                    self._stop(stop.number)
            if p.snapshot_after_train and self.prefix and not self._snapshot_due():
                self.snapshot()
            if p.display and self.iteration % p.display == 0:
                with torch.no_grad():
                    self._smooth(self._forward(0))
                log.row(self.iteration, self._smoothed, None)
            self._test_when_due(tests)
        if tests:
            tests.close()
        if self._shortcut:
            self._shortcut.settle()
        if not self.options.quiet:
            progress.close(f"loss {self._smoothed:.6g}")

    def _stop(self, number: int) -> None:
        where = "no snapshot: the solver has no snapshot_prefix"
        if self.prefix:
            paths = SnapshotPaths.of(self.prefix, self.iteration) if self._snapshot_due() else self.snapshot()
            where = f"--resume or --snapshot {paths.solverstate} goes on from there"
        raise Stopped(number, f"stopped by {signal.Signals(number).name} at iteration {self.iteration}; {where}")

    def _snapshot_due(self) -> bool:
        by_interval = bool(self._p.snapshot) and self.iteration % self._p.snapshot == 0
        return bool(self.prefix) and (by_interval or self.iteration in self.options.snapshot_at)

    def _take_shortcut(self) -> None:
        if self._shortcut or not self.options.shortcut:
            return
        self._say("looking for layers whose work can be done once for each image")
        self.sgd.keep_factors()
        self._shortcut = take_shortcut(self.net, self.test_nets, self.sgd.velocity, self.sgd.keeps_span)
        if self._shortcut:
            self.sgd.delegate(self._shortcut.grams)
            self._say(f"shortcut: {self._shortcut.describe()} (--no-shortcut turns this off)")
            return
        merged = [merge_twins(net) for net in (self.net, *self.test_nets)]
        if merged[0]:
            self._say(f"none; twins run as one from {merged[0]} (--no-shortcut turns this off)")
        else:
            self._say("none: every layer runs at every iteration")

    def _leave_shortcut(self) -> None:
        assert self._shortcut
        self._shortcut.retire()
        self.sgd.take_back()
        self._shortcut = None
        self._say("shortcut left: more distinct images than its table holds")

    def _forward(self, sub_pass: int) -> torch.Tensor:
        context = Context(True, self.seed, self.iteration, sub_pass, self.sgd.wide)
        positions = [(layer, layer.source.position) for _, layer in self._data_layers()]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.amp):
            try:
                return self.net.forward(context)[0]
            except TableFull:
                self._leave_shortcut()
                for layer, position in positions:
                    layer.source.seek(position)
                return self.net.forward(context)[0]

    def _step(self) -> tuple[float, float] | None:
        """One iteration; returns (loss, rate) when it is one to display."""
        p = self._p
        total = 0.0
        for sub_pass in range(p.iter_size):
            loss = self._forward(sub_pass)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        loss_value = total / p.iter_size
        if not math.isfinite(loss_value) or self._explodes(loss_value):
            raise TrainingError(self._diverged(loss_value))
        self._smooth(loss_value)
        rate = self.rate(self.iteration)
        shown = bool(p.display) and self.iteration % p.display == 0
        self.sgd.update(rate)
        self.iteration += 1
        return (self._smoothed, rate) if shown else None

    def _explodes(self, loss: float) -> bool:
        """Whether a loss is a million times the first one, and large as such."""
        if self._first_loss is None:
            self._first_loss = abs(loss)
        return abs(loss) > _EXPLODED * max(1.0, self._first_loss)

    def _diverged(self, found: object, what: str = "a finite loss") -> str:
        last = snapshots.latest_whole(self.prefix) if self.prefix else None
        where = f"last good snapshot {last.caffemodel}" if last else "no snapshot before it"
        return (
            f"{self.source.path}: expected {what}, found {found} at iteration "
            f"{self.iteration} ({where}; a smaller base_lr may help)"
        )

    def _smooth(self, loss: float | torch.Tensor) -> None:
        """Caffe's running mean of the last average_loss losses."""
        value, size = float(loss), int(self._p.average_loss)
        if len(self._losses) < size:
            self._losses.append(value)
            count = len(self._losses)
            self._smoothed = (self._smoothed * (count - 1) + value) / count
        else:
            slot = (self.iteration - self._start_iteration) % size
            self._smoothed += (value - self._losses[slot]) / size
            self._losses[slot] = value

    def _test_when_due(self, log: LossLog | None) -> None:
        p = self._p
        if log is None or self.iteration % p.test_interval:
            return
        if self.iteration == 0 and not p.test_initialization:
            return
        for number, (net, passes) in enumerate(zip(self.test_nets, p.test_iter, strict=True)):
            for name, value in self.test(net, int(passes)).items():
                log.row(self.iteration, number, name, value)

    @torch.no_grad()
    def test(self, net: Net, passes: int) -> dict[str, float]:
        """Mean of each output of a test net over ``passes`` batches."""
        if self._shortcut and net not in self._shortcut.nets:
            self._shortcut.settle()
        sums: dict[str, float] = {}
        for sub_pass in range(passes):
            loss, blobs = net.forward(Context(False, self.seed, self.iteration, sub_pass))
            for output in net.outputs:
                flat = blobs[output].reshape(-1).tolist()
                for i, value in enumerate(flat):
                    key = output if len(flat) == 1 else f"{output}[{i}]"
                    sums[key] = sums.get(key, 0.0) + value
            if self._p.test_compute_loss:
                sums["(loss)"] = sums.get("(loss)", 0.0) + float(loss)
        return {key: total / passes for key, total in sums.items()}

    def _say(self, text: str) -> None:
        if not self.options.quiet:
            say(text)


def find(name: str, source: Path) -> Path:
    """A path a prototxt names: of the working folder as in Caffe, or else beside the prototxt."""
    here, beside = Path(name), source.parent / name
    return beside if not here.exists() and beside.exists() else here


def choose_device(name: str) -> torch.device:
    """``cpu``, ``cuda`` or ``cuda:N``; raises UsageError for one this machine has not."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, found '{name}'") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("--device: expected a CUDA device, found none that torch can use")
        # Caffe computes in float32; TF32 would keep only ten bits of each product
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    elif device.type != "cpu":
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, found '{name}'")
    return device
