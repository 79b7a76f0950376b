"""The start of a tower in the TEST phase, read from a feature table and a dual form instead of computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.feature_table import FeatureTable
from siamplex.engine.fast.gram import GramWeight
from siamplex.engine.net.layer import Context, Shape
from siamplex.engine.net.node import Node


@dataclass(frozen=True)
class TableStart:
    """:class:`~siamplex.engine.net.plan.TowerStart` over a feature table.

    The table's rows are the output of the tower's first ``nodes``.  ``shape`` is that of one row as the next node
    reads it; ``gram`` is the dual form of that node's weight, None where it has none.
    """

    nodes: int
    table: FeatureTable
    gram: GramWeight | None
    shape: Shape
    device: torch.device

    def known(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which samples are in the table (N,)."""
        return np.asarray(self.table.known(samples).numpy() >= 0)

    def features(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        """The table rows (N, ...) of samples in the table."""
        rows = self.table.known(samples).to(self.device)
        return self.table.features.index_select(0, rows).reshape(len(rows), *self.shape)

    def outputs(self, samples: npt.NDArray[Any], node: Node) -> torch.Tensor:
        """The next node's outputs (N, O), from the dual form where its weight has one."""
        if self.gram is None:
            return node.layer.forward([self.features(samples)], node.tensors(), Context(train=False))[0]
        rows = self.table.known(samples).to(self.device)
        return self.gram.outputs(rows, node.params[1].tensor if len(node.params) > 1 else None)
