"""Disk and memory of each step, computed from sizes; constants fitted to runs (docs/performance.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from siamplex.faces.canvas import HEIGHT, WIDTH
from siamplex.nets.generate import NetOptions
from siamplex.pairs.store import stacked_bytes
from siamplex.plan.corpus import Corpus
from siamplex.plan.pipeline import Pipeline
from siamplex.plan.settings import RunSettings
from siamplex.plan.speed import cores
from siamplex.plan.tower_size import TowerSize

_FLOAT = 4
_PYTHON, _TORCH = 105e6, 320e6  # bytes of a process that does nothing yet, without and with torch
_INDEXED_PAIR, _INDEXED_STORE = 37.5, 12e3  # bytes of a pair in an LMDB, and of an empty one
_PAIR = 60  # bytes in memory of a pair while it is made
_SHEET = 15e3  # bytes of a face on the contact sheet
_FEATURES, _FEATURE_FILE = 140, 4e3  # bytes of an image in npz and CSV, and of the files besides
_FIGURES, _SIMILARITY, _GEOMETRY = 0.8e6, 0.35e6, 20e3
_TEXTS = 60e3  # nets and solvers


@dataclass(frozen=True)
class Cost:
    """Bytes: ``disk`` for what stays, ``passing`` for temporary files, ``memory`` at the peak."""

    disk: int = 0
    memory: int = 0
    passing: int = 0


class Costs:
    """Costs of a run's steps."""

    def __init__(self, settings: RunSettings, corpus: Corpus, nets: NetOptions, pipeline: Pipeline) -> None:
        self._s, self._corpus, self._nets, self._pipeline = settings, corpus, nets, pipeline
        self.size = TowerSize.of(nets.arch)
        self.images = len(corpus.index)

    def of(self, target: str, span: tuple[int, int] = (0, 0)) -> Cost:
        """Of a target; ``span`` are the iterations that a training still goes through."""
        disk, memory, *passing = getattr(self, f"_{target}")(span)
        return Cost(round(disk), round(memory), round(passing[0]) if passing else 0)

    @property
    def _pixels(self) -> float:
        """Bytes of all images, a byte a value."""
        return self.images * 3.0 * self._nets.arch.size**2

    @property
    def _weights(self) -> float:
        """Bytes of a tower's weights."""
        return _FLOAT * float(self.size.weights)

    def _faces(self, span: tuple[int, int]) -> tuple[float, ...]:
        processes = cores() + 1
        return self.images * (WIDTH * HEIGHT * 3 + 54 + _SHEET), _PYTHON * processes

    def _index(self, span: tuple[int, int]) -> tuple[float, ...]:
        return self.images * 105.0, _PYTHON

    def _pairs(self, span: tuple[int, int]) -> tuple[float, ...]:
        counts, most = self._corpus.pairs.values(), max(self._corpus.pairs.values(), default=0)
        if self._s["LAYOUT"] == "stacked":
            stored = sum(stacked_bytes(n, self._nets.arch.size) for n in counts)
            return stored, _PYTHON + self._pixels + _PAIR * most
        stores = sum(_INDEXED_STORE + _INDEXED_PAIR * n for n in counts)
        return stores + _FLOAT * self._pixels, _PYTHON + _PAIR * most

    def _prototxt(self, span: tuple[int, int]) -> tuple[float, ...]:
        return _TEXTS, _PYTHON

    def _init(self, span: tuple[int, int]) -> tuple[float, ...]:
        return self._weights, _TORCH + self._weights

    def snapshots(self, stage: int, span: tuple[int, int]) -> int:
        """How many snapshots a stage still takes."""
        options = self._nets.stage1 if stage == 1 else self._nets.stage2
        first, last = span
        every = set(range(options.snapshot, last + 1, options.snapshot)) if options.snapshot else set()
        asked = {int(n) for n in self._s["SHOWN"].split() if n.isdecimal()} if stage == 1 else set()
        asked = set() if self._s.by_caffe else asked
        return sum(first < n <= last for n in every | asked | {last}) + (0 in asked and not first)

    def _training(self, stage: int, span: tuple[int, int]) -> tuple[float, float]:
        """Bytes of the snapshots that stay, and those on the way."""
        count = self.snapshots(stage, span)
        if not self._s.by_caffe:  # the tower alone, and the newest state
            return count * self._weights + (self._weights if count else 0), self._weights
        table = _FLOAT * self._pixels if self._s["LAYOUT"] == "indexed" else 0
        # Caffe writes both towers' layers, shared arrays twice, and keeps every solverstate
        return count * 3 * (self._weights + table), 0

    def _train(self, span: tuple[int, int]) -> tuple[float, ...]:
        disk, passing = self._training(1, span)
        features = _FLOAT * float(self.images * self.size.features)
        table = _FLOAT * self._pixels if self._s["LAYOUT"] == "indexed" else 0
        return disk, _TORCH + 2 * table + 4 * self._weights + 3 * features, passing

    def _finetune(self, span: tuple[int, int]) -> tuple[float, ...]:
        disk, passing = self._training(2, span)
        distinct = distinct_images(self._corpus.images("train"), self._nets.stage2_batch_size)
        table = _FLOAT * self._pixels if self._s["LAYOUT"] == "indexed" else 0
        values = _FLOAT * distinct * self.size.activations
        return disk, _TORCH + 2 * table + 5 * self._weights + 4 * values, passing

    def _features(self, span: tuple[int, int]) -> tuple[float, ...]:
        count = len(self._pipeline.panels) + 2
        return count * (self.images * _FEATURES + _FEATURE_FILE), _TORCH + 2 * self._weights

    def _geometry(self, span: tuple[int, int]) -> tuple[float, ...]:
        return _GEOMETRY, _PYTHON

    def _figures(self, span: tuple[int, int]) -> tuple[float, ...]:
        return _FIGURES, 1.5 * _PYTHON

    def _similarity(self, span: tuple[int, int]) -> tuple[float, ...]:
        return _SIMILARITY * (2 if self._s["HUMAN"] else 1), _TORCH + 2 * self._weights

    def _report(self, span: tuple[int, int]) -> tuple[float, ...]:
        return 1e6, _TORCH

    def _seeds(self, span: tuple[int, int]) -> tuple[float, ...]:
        memory = self._train((0, self._nets.stage1.max_iter))[1]
        return int(self._s["SEEDS"]) * self.images * float(_FEATURES), memory, 4 * self._weights


def distinct_images(images: int, batch: int) -> float:
    """How many of ``images`` a batch of so many pairs draws, on average."""
    return images * (1 - math.exp(-2 * batch / images)) if images else 0.0
