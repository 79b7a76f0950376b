"""Stand-ins: functions that run in place of a net's nodes or compute one of their bottoms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from siamplex.engine.net.layer import Context


@dataclass
class StandIns:
    """The stand-ins of a net, by node name; without any every layer runs.

    Functions in ``nodes`` return a node's tops, those in ``bottoms`` one of its bottoms, by index.  Nodes in
    ``skipped`` do not run.
    """

    nodes: dict[str, Callable[[Context], list[torch.Tensor]]] = field(default_factory=dict)
    bottoms: dict[str, dict[int, Callable[[], torch.Tensor]]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.bottoms or self.skipped)

    def read(self, node: str, index: int, function: Callable[[], torch.Tensor]) -> None:
        """Let ``function`` compute bottom ``index`` of ``node``."""
        self.bottoms.setdefault(node, {})[index] = function

    def clear(self) -> None:
        """Remove all stand-ins, so that every layer runs again."""
        self.nodes.clear()
        self.bottoms.clear()
        self.skipped.clear()
