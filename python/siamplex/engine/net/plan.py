"""The door through which fast paths come in: what stands in for which node, and who updates which parameter.

Net, layers and solver know these interfaces alone.  A planner looks at the nets of a run and puts stand-ins into them
(:class:`~siamplex.engine.net.stand_ins.StandIns`); its plan says which parameters it keeps in another form meanwhile,
and brings them up to date when somebody wants to see them.  Without a planner every layer runs as the prototxt says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.net.kernels import Factors, Kernels
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node, Parameter
from siamplex.schema.weights import Written

Velocity = Callable[[int], torch.Tensor | None]
Gather = Callable[[torch.Tensor], torch.Tensor]


class PlanFull(Exception):
    """What a plan keeps has no room for what it met: it must retire, and the pass be run again in full."""


class FactoredGradients(Protocol):
    """Gradients of some weights, kept as :data:`~siamplex.engine.net.kernels.Factors` until the update."""

    def of(self, weight: torch.Tensor) -> Factors | None:
        """The list that holds a weight's factors; None for a weight whose gradient is kept whole."""

    def take(self, weight: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]] | None:
        """The gradient, some rows at a time, its factors then gone; None where there are none."""


class Keeper(Protocol):
    """Keeps a parameter and its velocity in another form, and makes SGD's update in it."""

    parameter: Parameter

    @property
    def velocity(self) -> torch.Tensor | None:
        """V as of the last time the plan settled; None for zero."""

    def update(self, rate: float, decay: float, share: float, joined: Gather | None = None) -> None:
        """SGD's step: rate and decay with the parameter's multipliers, share 1 / (iter_size, processes).

        ``joined`` gathers what all processes have.
        """

    def give_up_gradients(self) -> Factors:
        """Pending gradients, handed over when the other form is left."""

    def drop_gradients(self) -> None:
        """Forget pending gradients."""

    def copy(self) -> dict[str, torch.Tensor]:
        """All that :meth:`restore` needs to go on bit for bit, copied where an update changes it."""

    def restore(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Put a :meth:`copy` back.  Raises ValueError where it does not fit."""


class TowerStart(Protocol):
    """The first nodes of a tower in the TEST phase, by what a plan has kept of stored samples (N, C, H, W)."""

    @property
    def nodes(self) -> int:
        """How many nodes of the tower these are."""

    def known(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which samples it can tell of (N,)."""

    def features(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        """What the node behind those reads (N, ...)."""

    def outputs(self, samples: npt.NDArray[Any], node: Node) -> torch.Tensor:
        """What that node makes of it (N, ...)."""


class Plan(Protocol):
    """What stands in for parts of a train net and its test nets."""

    @property
    def nets(self) -> Sequence[Net]:
        """The nets that have stand-ins."""

    @property
    def keepers(self) -> Mapping[int, Keeper]:
        """By the parameter's index in the train net."""

    @property
    def growths(self) -> Sequence[Sequence[Any]]:
        """The log of batches that brought new images, as JSON has it; :meth:`replay` reads it."""

    def describe(self) -> str:
        """One line for the log."""

    def settle(self) -> None:
        """Materialise all parameters: write their values into the net."""

    def retire(self) -> None:
        """Settle, and take all stand-ins away."""

    def replay(self, growths: Sequence[Sequence[Any]]) -> None:
        """Meet the images of an earlier process in the same order.  Set the data layers to their places after it."""

    def tower(self, net: Net, nodes: Sequence[Node]) -> TowerStart | None:
        """The start of a tower of these nodes; None where nothing of it is kept."""

    def write_state(self, path: Path) -> Written | None:
        """Write what parameters kept in another form are, unsettled; None for none."""

    def read_state(self, path: Path) -> None:
        """Put it back.  Raises InputError where it does not fit."""


class Planner(Protocol):
    """Finds what can be computed once, or in another form, with the same numbers."""

    @property
    def kernels(self) -> Kernels:
        """For the contexts of the run's passes."""

    def factored(self, parameters: Sequence[Parameter]) -> FactoredGradients:
        """Let the kernels keep gradients of these parameters as factors, where that is worth it."""

    def plan(self, net: Net, test_nets: Sequence[Net], velocity: Velocity, momentum: float | None) -> Plan | None:
        """Put stand-ins into the nets; None where nothing can be gained.

        ``velocity`` gives a parameter's V, None for zero; ``momentum`` is the solver's, None where its update does not
        keep weights in the span of their inputs.
        """

    def merge_towers(self, net: Net) -> str | None:
        """Let twin towers that learn run as one; which layers that is, None where there are none."""
