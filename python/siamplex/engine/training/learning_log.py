"""The learning log: at each test, how well a siamese net has learnt to tell expressions apart.

It compares the losses with label-blind ones, counts active units, and measures the shape of the embedding by the ratio
of the classes' singular values.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from siamplex.engine.layers.inner_product import InnerProduct
from siamplex.engine.layers.relu import ReLU
from siamplex.engine.net.net import Net
from siamplex.engine.net.plan import Plan
from siamplex.engine.training.learning_table import COLUMNS, Learning
from siamplex.engine.training.loss_log import LossLog
from siamplex.engine.training.towers import Look, StoredImages, TowerPass, Towers, find_towers, stored_images
from siamplex.geometry.pair_losses import PairLosses, classes_of, pair_losses, ratio_of_classes


class LearningLog:
    """Runs one tower of the train net over the training images and over those of the first test net.

    Create it before training begins, while the data layers are not being read.
    """

    def __init__(self, net: Net, towers: Towers, test_net: Net | None) -> None:
        self._net, self._towers = net, towers
        self._train = stored_images(towers)
        self._test_net = test_net
        test = find_towers(test_net) if test_net else None
        alike = (
            test is not None
            and test.layer.source.shape == towers.layer.source.shape
            and _signature(test) == _signature(towers)
        )
        self._validation = stored_images(test) if alike and test is not None else None
        self._classes = classes_of(len(self._train.samples), *_pairs(self._train))

    @classmethod
    def of(cls, net: Net, test_net: Net | None) -> LearningLog | None:
        """The log of a siamese net; None for any other net."""
        towers = find_towers(net)
        return cls(net, towers, test_net) if towers else None

    def columns(self) -> list[str]:
        """The CSV's columns: for each layer with a ReLU behind it, its active units and the number of units."""
        names = map(_plain, self._rectified())
        return [*COLUMNS, *(f"{name}_{what}" for name in names for what in ("active", "units"))]

    def _rectified(self) -> list[str]:
        nodes = [node for node in self._towers.first if node.layer.spec.type != "Dropout"]
        return [a.name for a, b in pairwise(nodes) if isinstance(a.layer, InnerProduct) and _cuts_off(b.layer)]

    def look(self, iteration: int, plan: Plan | None, validation: float | None) -> Learning | None:
        """Measure now; None where no training image is available yet (:meth:`TowerPass.known`)."""
        tower = TowerPass(self._net, self._towers, plan)
        found = _look(tower, self._train)
        if found is None:
            return None
        seen, known = found
        losses = self._losses(seen, known, self._train)
        if losses is None:
            return None
        blind = None
        # a test net that runs without the table may have images that are not in the table
        if self._validation is not None and not (plan and self._test_net not in plan.nets):
            held_out = _look(tower, self._validation)
            of_validation = self._losses(*held_out, self._validation) if held_out else None
            blind = of_validation.label_blind if of_validation else None
        active = {name: (int(units.sum()), len(units)) for name, units in seen.active.items()}
        return Learning(
            iteration, losses, validation, blind, ratio_of_classes(seen.points, self._classes[known]), active
        )

    def _losses(self, seen: Look, known: np.ndarray, images: StoredImages) -> PairLosses | None:
        first, second, same = _pairs(images)
        place = np.cumsum(known) - 1
        there = known[first] & known[second]
        if not there.any():
            return None
        margin, legacy = self._towers.margin, self._towers.legacy
        return pair_losses(seen.points, place[first[there]], place[second[there]], same[there], margin, legacy)

    def write(self, log: LossLog, row: Learning) -> None:
        """Add a row to the CSV."""
        units = [number for name in self._rectified() for number in row.active.get(name, (None, None))]
        log.row(row.iteration, row.training.loss, row.training.label_blind, row.validation, row.validation_blind,
                row.ratio, *units)  # fmt: skip


def _pairs(images: StoredImages) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return images.first, images.second, images.same


def _look(tower: TowerPass, images: StoredImages) -> tuple[Look, np.ndarray] | None:
    """The tower's :class:`Look` at the available images, and which these are: (N,) bool."""
    known = tower.known(images.samples)
    return (tower.look(images.samples[known]), known) if known.any() else None


def _cuts_off(layer: object) -> bool:
    return isinstance(layer, ReLU) and not layer.params.negative_slope


def _signature(towers: Towers) -> tuple[object, ...]:
    return towers.layer.transform.part_signature(towers.parts[0])


def _plain(name: str) -> str:
    """A layer's name as part of a CSV column."""
    return re.sub(r"[^\w.-]", "_", name)
