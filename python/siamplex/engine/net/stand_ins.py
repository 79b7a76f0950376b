"""What runs in the place of a net's nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from siamplex.engine.net.layer import Context


@dataclass
class StandIns:
    """Functions in the place of nodes, or of what they read, by the nodes' names; empty: every layer runs.

    ``nodes`` give a node's tops; ``bottoms`` one of its bottoms, by index; ``skipped`` nodes do not run at all.
    """

    nodes: dict[str, Callable[[Context], list[torch.Tensor]]] = field(default_factory=dict)
    bottoms: dict[str, dict[int, Callable[[], torch.Tensor]]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.bottoms or self.skipped)

    def read(self, node: str, index: int, function: Callable[[], torch.Tensor]) -> None:
        """Let ``function`` give what ``node`` reads as its bottom ``index``."""
        self.bottoms.setdefault(node, {})[index] = function

    def clear(self) -> None:
        """Let every layer run again."""
        self.nodes.clear()
        self.bottoms.clear()
        self.skipped.clear()
