"""One training of a multiverse, in a worker: the ordinary solver over precomputed features.

A job holds all its inputs in memory, so that a worker may be a process on another machine.  The result is returned in
memory too: only the process that asked for it writes into the run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.feature_table import PreparedRows
from siamplex.engine.fast.planner import FastPlanner
from siamplex.engine.fast.threads import threads
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.engine.training.towers import TowerPass, find_towers
from siamplex.engine.training.trial_steps import try_steps
from siamplex.errors import SiamplexError, TrainingError
from siamplex.geometry.pair_losses import contrastive, pair_losses
from siamplex.multiverse.grid import LENGTH, VALIDATION, Training
from siamplex.multiverse.run_nets import LMDB, SOLVER, RunNets
from siamplex.multiverse.store import UNTRAINED, CellLearning, Value
from siamplex.pairs.pairing import Pairs
from siamplex.pairs.store import TABLE_LAYER, write_indexed
from siamplex.run.durable import write_text
from siamplex.weights.initial import CONVOLUTIONS

Floats = npt.NDArray[np.float32]
_THREADS = 1  # of each training: two would wait for each other, and could round otherwise than one
TEST_INTERVAL = 250  # iterations between two looks at the validation pairs, as a solver of siamplex prototxt has it


@dataclass(frozen=True)
class Job:
    """A training and all its inputs.

    ``views`` are the settings at which it is read; ``gram`` (N, N), ``base`` (N, O) and, where N >= D, ``features`` (N,
    D) come from :mod:`~siamplex.multiverse.features`.  ``scratch`` is a folder for temporary files, None for the
    machine's own.
    """

    nets: RunNets
    training: Training
    views: tuple[dict[str, Value], ...]
    pairs: Pairs
    validation: Pairs
    gram: Floats
    base: Floats
    features: Floats | None
    scratch: str | None = None

    @property
    def settings(self) -> dict[str, Value]:
        """The training's settings by name."""
        return dict(self.training.settings)

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return 0 if self.training.control == UNTRAINED else max(int(view["iterations"]) for view in self.views)


@dataclass(frozen=True)
class Reading:
    """The content of one cell: the embedding (N, 2) at ``iteration``, None where it diverged."""

    view: dict[str, Value]
    iteration: int
    points: Floats | None
    learning: CellLearning
    active: dict[str, list[int]]
    why: str = ""


@dataclass(frozen=True)
class Result:
    """The result of a job.  ``refused`` says what was wrong with it, if it could not be trained at all."""

    training: Training
    readings: tuple[Reading, ...] = ()
    refused: str = ""
    seconds: float = 0.0  # of all, the making of the net too
    processor: float = 0.0  # of these, what the processor worked


@dataclass(frozen=True)
class _Look:
    """The embedding at one iteration, and its validation loss."""

    iteration: int
    points: Floats
    active: dict[str, list[int]]
    validation: float | None
    seconds: float


def train(job: Job) -> Result:
    """Train and read the cells.  User errors go into the result: an exception could be lost between processes."""
    start, worked = time.perf_counter(), time.process_time()
    readings: Sequence[Reading] = ()
    refused = ""
    try:
        with threads(_THREADS), tempfile.TemporaryDirectory(prefix="siamplex-", dir=job.scratch) as folder:
            readings = _Run(job, Path(folder)).readings()
    except SiamplexError as error:
        refused = str(error)
    took, worked = time.perf_counter() - start, time.process_time() - worked
    return Result(job.training, tuple(readings), refused, took, worked)


class _Run:
    """A solver over precomputed features, in a temporary folder."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._job, self._folder = job, folder
        write_indexed(folder / LMDB, job.pairs, quiet=True)
        for name, text in job.nets.texts(job.settings, max(1, job.iterations), job.training.seed, str(folder)).items():
            write_text(folder / name, text)
        hollow = {(TABLE_LAYER, 0), *((name, index) for name in CONVOLUTIONS for index in (0, 1))}
        if job.features is None:
            hollow.add(("fc4", 0))
        arrays = (torch.from_numpy(np.array(a)) if a is not None else None for a in (job.gram, job.base, job.features))
        gram, base, features = arrays
        assert gram is not None and base is not None
        planner = FastPlanner(PreparedRows(gram, base, features))
        options = TrainOptions(
            seed=job.training.seed, planner=planner, hollow=frozenset(hollow), allow_unfilled=True, outside=True,
            tables=False, quiet=True,
        )  # fmt: skip
        self._solver = Solver(folder / SOLVER, options)
        self._solver.begin()
        towers = find_towers(self._solver.net)
        assert towers is not None and self._solver.plan is not None
        self._tower = TowerPass(self._solver.net, towers, self._solver.plan)
        self._samples = np.arange(len(job.gram), dtype=np.float32).reshape(-1, 1, 1, 1)
        self._seconds = 0.0

    def readings(self) -> list[Reading]:
        job, solver = self._job, self._solver
        if not job.iterations:
            return [self._reading({}, self._look())]
        trial = try_steps(solver, solver.rate(0))
        if trial is not None and trial.exploded:
            losses = ", ".join(f"{loss:.3g}" for loss in trial.losses)
            return [self._diverged(view, 0, f"the first steps must diverge: losses {losses}") for view in job.views]
        looks, why = self._train()
        return [self._of_view(view, looks, why) for view in job.views]

    def _train(self) -> tuple[dict[int, _Look], str]:
        """Looks by iteration, as far as the training came, and why it stopped early."""
        solver, last = self._solver, self._job.iterations
        shown = {int(view["iterations"]) for view in self._job.views}
        tested = set(range(0, last + 1, self._interval)) if self._is_tested() else set()
        looks: dict[int, _Look] = {}
        for iteration in sorted(shown | tested):
            start = time.perf_counter()
            try:
                solver.advance(iteration)
            except TrainingError as error:
                return looks, str(error).replace(f"{self._folder}/", "")
            finally:
                self._seconds += time.perf_counter() - start
            looks[iteration] = self._look()
            if not np.isfinite(looks[iteration].points).all():
                del looks[iteration]
                return looks, f"diverged by iteration {iteration}: points that are no numbers"
        return looks, ""

    @property
    def _interval(self) -> int:
        """Even a short training is tested half-way and at its end (:mod:`siamplex.nets.solver`)."""
        return min(TEST_INTERVAL, max(1, self._job.iterations // 2))

    def _is_tested(self) -> bool:
        return any(view["stop"] == VALIDATION for view in self._job.views) and len(self._job.validation) > 0

    def _look(self) -> _Look:
        found = self._tower.look(self._samples)
        points = found.points.astype(np.float32)
        active = {name: [int(units.sum()), len(units)] for name, units in found.active.items()}
        return _Look(self._solver.iteration, points, active, self._loss(points, self._job.validation), self._seconds)

    def _loss(self, points: Floats, pairs: Pairs) -> float | None:
        if not len(pairs):
            return None
        squared = ((points[pairs.first].astype(np.float64) - points[pairs.second]) ** 2).sum(axis=1)
        return contrastive(squared, pairs.same, self._margin)

    @property
    def _margin(self) -> float:
        return float(self._job.settings.get("margin", self._job.nets.arch.margin))

    def _of_view(self, view: dict[str, Value], looks: dict[int, _Look], why: str) -> Reading:
        until = int(view["iterations"])
        if until not in looks:
            return self._diverged(view, self._solver.iteration, why)
        if view["stop"] == LENGTH or looks[until].validation is None:
            return self._reading(view, looks[until])
        tests = [at for at in looks if at <= until and at % self._interval == 0]
        best = min(tests, key=lambda at: (_number(looks[at].validation), at))
        return self._reading(view, looks[best], looks[until].seconds)

    def _reading(self, view: dict[str, Value], look: _Look, seconds: float | None = None) -> Reading:
        losses = [self._both(look.points, pairs) for pairs in (self._job.pairs, self._job.validation)]
        (training, training_blind), (validation, validation_blind) = losses
        took = look.seconds if seconds is None else seconds
        learning = CellLearning(training, training_blind, validation, validation_blind, False, took)
        return Reading(view, look.iteration, look.points, learning, look.active)

    def _both(self, points: Floats, pairs: Pairs) -> tuple[float | None, float | None]:
        if not len(pairs):
            return None, None
        found = pair_losses(points.astype(np.float64), pairs.first, pairs.second, pairs.same, self._margin)
        return found.loss, found.label_blind

    def _diverged(self, view: dict[str, Value], iteration: int, why: str) -> Reading:
        return Reading(view, iteration, None, CellLearning(None, None, None, None, True, self._seconds), {}, why)


def _number(loss: float | None) -> float:
    return float("inf") if loss is None else loss


def arithmetic(job_images: int, batch: int, units: Sequence[int], iterations: int) -> float:
    """The least multiply-adds of so many iterations, with all units active and all pairs within the margin.

    fc4's change for each of ``job_images`` trained on by each distinct image of a batch, and the three products of fc5:
    ``units`` are those of fc4 and fc5.  Distinct images as expected of 2 ``batch`` draws.
    """
    distinct = job_images * (1 - (1 - 1 / job_images) ** (2 * batch))
    fc4, fc5 = units
    return iterations * (job_images * distinct * fc4 + 3 * 2 * batch * fc4 * fc5)
