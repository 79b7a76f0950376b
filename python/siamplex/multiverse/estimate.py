"""Forecast of a multiverse: time from the multiply-adds of its trainings, disk and memory from sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from siamplex.multiverse.features import Prefix
from siamplex.multiverse.grid import Grid, Training
from siamplex.multiverse.jobs import Jobs
from siamplex.multiverse.run_nets import RunNets
from siamplex.multiverse.store import UNTRAINED
from siamplex.multiverse.training import arithmetic
from siamplex.plan.speed import cores, multiplication_rate
from siamplex.plan.tower_size import TowerSize

_SLOWER = 1.7  # than the arithmetic, of a training on one core, where none was measured yet
_START = 1.0  # seconds until a training's first iteration
_WORKER = 450e6  # bytes of a worker process: Python, torch, one training
_CELL = 60e3  # bytes of a cell's files, and of its embedding for each image:
_IMAGE = 150


@dataclass
class Pace:
    """Seconds that a worker takes for a training, estimated from finished ones.

    ``rate`` are multiply-adds a second of one core.
    """

    rate: float = field(default_factory=lambda: multiplication_rate() / 2 / cores())
    work: float = 0.0  # multiply-adds of trainings done to their end
    seconds: float = 0.0

    def done(self, work: float, seconds: float) -> None:
        """Record a training that did not diverge."""
        self.work += work
        self.seconds += seconds

    @property
    def is_measured(self) -> bool:
        """Whether any training was recorded yet."""
        return self.seconds > 0

    def of(self, work: float) -> float:
        """Seconds for so many multiply-adds."""
        return work * self.seconds / self.work if self.work else _START + _SLOWER * work / self.rate


def work_of(training: Training, grid: Grid, nets: RunNets, jobs: Jobs) -> float:
    """Multiply-adds of a training; nearly none for an untrained tower."""
    if training.control == UNTRAINED:
        return 0.0
    units = nets.arch.units(1024), nets.arch.units(256)
    longest = max(int(value) for value in grid.dimensions["iterations"])
    return arithmetic(jobs.trained_on(training), int(training["batch"]), units, longest)


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
