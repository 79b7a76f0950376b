"""Time of each step: as measured earlier in this run, or estimated from this machine's speed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from siamplex.errors import InputError
from siamplex.plan.costs import distinct_images
from siamplex.plan.planning import Plan, PlannedStep
from siamplex.plan.speed import cores
from siamplex.plan.tower_size import TowerSize
from siamplex.run.record import read_record, recorded_options

MEASURED, RECKONED = "measured", "reckoned"
REFERENCE = 1.26e11  # operations a second of the machine that the constants below were measured on, 2 cores
_STAGE1_SHARE, _STAGE2_SHARE = 2.1, 0.68  # times the plain arithmetic (docs/performance.md)
_START, _START_TORCH = 0.8, 2.5  # seconds until a command does anything


@dataclass(frozen=True)
class Duration:
    """Seconds (None: not known) and their source."""

    seconds: float | None
    source: str = RECKONED


class Durations:
    """Times of a plan's steps; ``rate`` measures this machine and is called at most once."""

    def __init__(self, plan: Plan, rate: Callable[[], float]) -> None:
        assert plan.corpus and plan.nets
        self._plan, self._corpus, self._nets = plan, plan.corpus, plan.nets
        self._rate, self._known = rate, 0.0
        self._size = TowerSize.of(plan.nets.arch)
        self._images = len(plan.corpus.index)
        try:
            self._record = read_record(plan.settings.out)
        except InputError:
            self._record = []

    def of(self, step: PlannedStep) -> Duration:
        """The time of a step that is not skipped."""
        measured = self._measured(step)
        if measured is not None:
            return Duration(measured, MEASURED)
        if self._elsewhere(step.target):
            return Duration(None)
        return Duration(float(getattr(self, f"_{step.target}")(step)))

    def _elsewhere(self, target: str) -> bool:
        """Whether a step runs on something never measured: a GPU, several processes, the caffe binary."""
        s = self._plan.settings
        moved = s["DEVICE"] != "cpu" or s.by_caffe or s["PROCESSES"].strip() != "1"
        return moved and target in ("train", "finetune", "features", "similarity", "seeds")

    # --- as measured

    def _measured(self, step: PlannedStep) -> float | None:
        if step.target in ("train", "finetune"):
            return self._measured_training(step)
        found = [self._latest(options) for options in step.options]
        return None if any(f is None for f in found) else sum(f for f in found if f is not None)

    def _latest(self, options: argparse.Namespace) -> float | None:
        """Seconds of the latest run of this command with the same options."""
        wanted = recorded_options(options)
        for entry in reversed(self._record):
            mine = entry.get("command") == options.command and entry.get("options") == wanted
            if mine and entry.get("outcome") == "done" and isinstance(entry.get("seconds"), (int, float)):
                return float(entry["seconds"])
        return None

    def _measured_training(self, step: PlannedStep) -> float | None:
        """From the measured seconds per iteration of the same stage; only the number of iterations may differ."""
        if self._plan.settings.on("OVERWRITE"):
            return None
        (options,) = step.options
        wanted = recorded_options(options)
        for entry in reversed(self._record):
            told: dict[str, Any] = entry.get("options", {})
            same = all(told.get(name) == wanted[name] for name in ("solver", "engine", "device", "amp", "no_shortcut"))
            span = entry.get("iterations")
            if entry.get("command") != "train" or entry.get("outcome") != "done" or not same or not span:
                continue
            if entry.get("processes", 1) != int(self._plan.settings["PROCESSES"]) or span[1] <= span[0]:
                continue
            first, last = step.iterations
            return float(entry["seconds"]) / (span[1] - span[0]) * (last - first)
        return None

    # --- as reckoned

    @property
    def _slower(self) -> float:
        """How many times slower this machine is than the one the constants were measured on."""
        if not self._known:
            self._known = self._rate()
        return REFERENCE / self._known

    def _faces(self, step: PlannedStep) -> float:
        return _START + self._slower * (1 + self._images * 0.11 / cores())

    def _index(self, step: PlannedStep) -> float:
        return _START + self._slower * self._images * 0.001

    def _pairs(self, step: PlannedStep) -> float:
        pairs, megabytes = self._corpus.pair_count, self._images * 3 * self._nets.arch.size**2 / 1e6
        each = 6 * self._nets.arch.size**2 / 1e9 if self._plan.settings["LAYOUT"] == "stacked" else 1.5e-6
        return _START + self._slower * (self._images * 0.0025 + megabytes * 0.02) + pairs * each

    def _prototxt(self, step: PlannedStep) -> float:
        return _START

    def _init(self, step: PlannedStep) -> float:
        return _START_TORCH + self._slower * self._size.weights * 3e-8

    def _forward(self, images: float) -> float:
        """Seconds of the towers' forward pass."""
        return self._slower * images * (self._size.multiplications + self._size.dense) * 2 / REFERENCE * 2.0

    def _test(self, stage: int) -> float:
        """Seconds of one test on the validation split."""
        return self._forward(self._corpus.images("val")) + 0.05

    def _looks(self, step: PlannedStep, stage: int) -> int:
        options = self._nets.stage1 if stage == 1 else self._nets.stage2
        first, last = step.iterations
        interval = min(options.test_interval, max(1, options.max_iter // 2))
        return (last - first) // interval + 1

    def _train(self, step: PlannedStep) -> float:
        first, last = step.iterations
        units = self._nets.arch.units(1024)
        trained = self._corpus.images("train")
        distinct = distinct_images(trained, self._nets.batch_size)
        products = 2 * units * (trained * distinct + 3 * 2 * self._nets.batch_size * self._nets.arch.units(256))
        each = 0.003 + products / REFERENCE * _STAGE1_SHARE
        return (
            _START_TORCH + self._forward(self._images) + self._slower * each * (last - first)
            + self._looks(step, 1) * 0.3 + self._snapshots(step) * self._size.weights * 4 / 1e8
        )  # fmt: skip

    def _snapshots(self, step: PlannedStep) -> int:
        return max(1, len(self._plan.settings["SHOWN"].split()))

    def _finetune(self, step: PlannedStep) -> float:
        first, last = step.iterations
        images = distinct_images(self._corpus.images("train"), self._nets.stage2_batch_size)
        operations = 3 * 2 * (images * self._size.multiplications + 2 * self._nets.stage2_batch_size * self._size.dense)
        each = operations / REFERENCE * _STAGE2_SHARE + 0.01 + self._size.weights * 2e-9
        return _START_TORCH + self._slower * each * (last - first) + self._looks(step, 2) * self._test(2)

    def _features(self, step: PlannedStep) -> float:
        return len(step.commands) * (_START_TORCH + self._forward(self._images))

    def _geometry(self, step: PlannedStep) -> float:
        return 2 * _START

    def _figures(self, step: PlannedStep) -> float:
        return _START + 2 * self._slower

    def _similarity(self, step: PlannedStep) -> float:
        return _START_TORCH + self._forward(self._images) + 6 * self._slower + 3 * (len(step.commands) - 1)

    def _report(self, step: PlannedStep) -> float:
        return _START_TORCH

    def _seeds(self, step: PlannedStep) -> float:
        whole = PlannedStep("train", (), (), "", step.cost, (0, self._nets.stage1.max_iter))
        count = int(self._plan.settings["SEEDS"])
        return count * (self._train(whole) + self._init(whole) + self._forward(self._images))


def in_words(seconds: float | None) -> str:
    """A duration as people say it."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{math.ceil(hours)} h"
