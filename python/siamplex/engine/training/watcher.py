"""The callback interface of a training run: it is called at each display, test and snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siamplex.engine.training.snapshot import SnapshotPaths


@dataclass(frozen=True)
class Output:
    """One output blob of a net: its name, values and weight in the loss."""

    name: str
    values: Sequence[float]
    weight: float


class Watcher:
    """Base class of callbacks; its methods do nothing."""

    def displayed(self, iteration: int, loss: float, rate: float | None, outputs: Sequence[Output]) -> None:
        """A displayed loss and the train net's outputs; rate is None for the forward pass after the last iteration."""

    def stepped(self, iteration: int, step: int) -> None:
        """The multistep policy takes its rate down to that of ``step``, before the iteration's display."""

    def clipped(self, iteration: int, norm: float, limit: float) -> None:
        """The gradients, of joint L2 norm ``norm``, were scaled down to ``limit``, before the iteration's display."""

    def testing(self, iteration: int, net: int) -> None:
        """A test net is about to run."""

    def tested(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        """A test net's outputs, means over its passes, and its loss where the solver asks for it."""

    def saving(self, paths: SnapshotPaths) -> None:
        """A snapshot is about to be written."""
