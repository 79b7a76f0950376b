"""Forecast of a multiverse: time from its trainings' multiply-adds and iterations, disk and memory from sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from siamplex.multiverse.features import Prefix
from siamplex.multiverse.grid import Grid, Training
from siamplex.multiverse.jobs import Jobs
from siamplex.multiverse.run_nets import RunNets
from siamplex.multiverse.store import UNTRAINED
from siamplex.multiverse.training import arithmetic
from siamplex.plan.speed import call_seconds, cores, multiplication_rate
from siamplex.plan.tower_size import TowerSize

_SLOWER = 1.3  # than the arithmetic with all units active, of a training on one core, where none was measured yet
_CALLS = 1100  # small calls that take as long as an iteration does beside its arithmetic
_START = 1.0  # seconds until a training's first iteration
_WORKER = 450e6  # bytes of a worker process: Python, torch, one training
_CELL = 60e3  # bytes of a cell's files, and of its embedding for each image:
_IMAGE = 150


@dataclass(frozen=True)
class Work:
    """What a training takes: multiply-adds and iterations; no iterations for a tower that is not trained."""

    products: float
    iterations: int


@dataclass
class Pace:
    """Seconds that a worker takes for a training: as this machine's speed lets expect, corrected by finished ones.

    ``rate`` are multiply-adds a second of one core, ``call`` the seconds of a small call.
    """

    rate: float = field(default_factory=lambda: multiplication_rate() / 2 / cores())
    call: float = field(default_factory=call_seconds)
    _expected: float = 0.0  # seconds of trainings done to their end, and the seconds that they took
    _took: float = 0.0

    def done(self, work: Work, seconds: float) -> None:
        """Record a training that did not diverge."""
        self._expected += self._expectation(work)
        self._took += seconds

    @property
    def is_measured(self) -> bool:
        """Whether any training was recorded yet."""
        return self._took > 0

    def of(self, work: Work) -> float:
        """Seconds of a training."""
        return self._expectation(work) * (self._took / self._expected if self.is_measured else 1)

    def _expectation(self, work: Work) -> float:
        if not work.iterations:
            return 0.0
        return _START + _SLOWER * work.products / self.rate + _CALLS * self.call * work.iterations


def work_of(training: Training, grid: Grid, nets: RunNets, jobs: Jobs) -> Work:
    """What a training takes, all units active."""
    if training.control == UNTRAINED:
        return Work(0.0, 0)
    units = nets.arch.units(1024), nets.arch.units(256)
    longest = max(int(value) for value in grid.dimensions["iterations"])
    return Work(arithmetic(jobs.trained_on(training), int(training["batch"]), units, longest), longest)


def disk(trainings: Iterable[Training], prefixes: dict[Prefix, set[int]], grid: Grid, nets: RunNets) -> float:
    """Bytes of the cells of some trainings, and of the features they need."""
    images, units = nets.images, nets.arch.units(1024)
    cells = sum(1 if t.control == UNTRAINED else len(grid.views) for t in trainings) * (_CELL + _IMAGE * images)
    wide = {pool3: TowerSize.of(nets.arch_of({"pool3": pool3})).features for pool3 in (False, True)}
    features = sum(4 * images * (wide[p.pool3] + images + len(seeds) * units) for p, seeds in prefixes.items())
    return float(cells + features)


def memory(prefixes: Iterable[Prefix], nets: RunNets, workers: int) -> float:
    """Peak bytes: while features are made (images, features of all scales, fc4's weights) or while workers train."""
    some = list(prefixes)
    size = TowerSize.of(nets.arch_of({"pool3": False})).features
    making = nets.images * 3 * nets.arch.size**2 * 5 + 4 * size * (nets.arch.units(1024) + nets.images * len(some))
    return float(max(making + _WORKER, _WORKER * (workers + 1)))
