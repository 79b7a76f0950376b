"""The planner of the fast paths: the one object through which the solver uses them."""

from __future__ import annotations

from collections.abc import Sequence

from siamplex.engine.fast.feature_table import PreparedRows
from siamplex.engine.fast.kernels import FastKernels
from siamplex.engine.fast.memory import keep_freed_memory
from siamplex.engine.fast.shortcut import Shortcut, take_shortcut
from siamplex.engine.fast.twins import merge_twins
from siamplex.engine.fast.wide import WideGradients
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Parameter
from siamplex.engine.net.plan import Velocity


class FastPlanner:
    """:class:`~siamplex.engine.net.plan.Planner` of one run; ``prepared`` holds precomputed outputs of its prefix."""

    def __init__(self, prepared: PreparedRows | None = None) -> None:
        self._prepared = prepared
        keep_freed_memory()
        self.kernels = FastKernels()

    def factored(self, parameters: Sequence[Parameter]) -> WideGradients:
        """Keep the gradients of wide weights as factors."""
        return self.kernels.keep_factors([p.tensor for p in parameters])

    def plan(self, net: Net, test_nets: Sequence[Net], velocity: Velocity, momentum: float | None) -> Shortcut | None:
        """Compute a frozen prefix once for each image, and keep the weights behind it in their dual form."""
        return take_shortcut(net, test_nets, velocity, momentum, self._prepared)

    def merge_towers(self, net: Net) -> str | None:
        """Run both towers as one batch that holds each distinct image once."""
        return merge_twins(net)
