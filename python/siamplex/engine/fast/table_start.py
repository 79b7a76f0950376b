"""The start of a tower in the TEST phase, by a feature table and a Gram form."""

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
    """:class:`~siamplex.engine.net.plan.TowerStart`: rows of a table are what the node behind the
    first ``nodes`` reads.

    ``shape`` is that of one row as this node sees it.
    """

    nodes: int
    table: FeatureTable
    gram: GramWeight | None
    shape: Shape
    device: torch.device

    def known(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Those in the table (N,)."""
        return np.asarray(self.table.known(samples).numpy() >= 0)

    def features(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        """Their rows (N, ...)."""
        rows = self.table.known(samples).to(self.device)
        return self.table.features.index_select(0, rows).reshape(len(rows), *self.shape)

    def outputs(self, samples: npt.NDArray[Any], node: Node) -> torch.Tensor:
        """By the Gram form where the node's weight is in one (N, O)."""
        if self.gram is None:
            return node.layer.forward([self.features(samples)], node.tensors(), Context(train=False))[0]
        rows = self.table.known(samples).to(self.device)
        return self.gram.outputs(rows, node.params[1].tensor if len(node.params) > 1 else None)
