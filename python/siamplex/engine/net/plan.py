"""The interfaces between the engine and the fast paths: Planner, Plan and Keeper.

Net, layers and solver depend on these interfaces only.  A planner inspects the nets of a run and puts stand-ins into
them (:class:`~siamplex.engine.net.stand_ins.StandIns`), functions that run in place of nodes.  Its plan may also keep
parameters in another form, such as the dual form; a keeper then updates each of them, and the plan materialises them
when their values are needed.  Without a planner every layer runs as the prototxt says.
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
    """A plan's table is full: the plan must be retired and the pass repeated in full."""


class FactoredGradients(Protocol):
    """Gradients of some weights, kept as :data:`~siamplex.engine.net.kernels.Factors` until the update."""

    def of(self, weight: torch.Tensor) -> Factors | None:
        """The list that holds a weight's factors; None for a weight whose gradient is kept whole."""

    def take(self, weight: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]] | None:
        """The gradient in blocks of rows; its factors are discarded.  None where there are none."""


class Keeper(Protocol):
    """Keeps a parameter and its velocity in another form, and applies SGD's update to that form."""

    parameter: Parameter

    @property
    def velocity(self) -> torch.Tensor | None:
        """V as last materialised; None for zero."""

    def update(self, rate: float, decay: float, share: float, joined: Gather | None = None) -> None:
        """SGD's step: rate and decay with the parameter's multipliers, share 1 / (iter_size, processes).

        ``joined`` gathers a tensor's rows from all processes of the group.
        """

    def give_up_gradients(self) -> Factors:
        """Pending gradients, handed over when leaving the other form."""

    def drop_gradients(self) -> None:
        """Discard pending gradients."""

    def copy(self) -> dict[str, torch.Tensor]:
        """The state from which :meth:`restore` resumes bit for bit; arrays that updates change are copied."""

    def restore(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Restore a :meth:`copy`.  Raises ValueError where it does not fit."""


class TowerStart(Protocol):
    """The first nodes of a tower in the TEST phase, replaced by what a plan has kept for samples (N, C, H, W)."""

    @property
    def nodes(self) -> int:
        """The number of replaced nodes."""

    def known(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which samples the plan has kept (N,)."""

    def features(self, samples: npt.NDArray[Any]) -> torch.Tensor:
        """The input (N, ...) of the next node."""

    def outputs(self, samples: npt.NDArray[Any], node: Node) -> torch.Tensor:
        """The outputs (N, ...) of the next node, ``node``."""


class Plan(Protocol):
    """The replacements that a planner made in a train net and its test nets."""

    @property
    def nets(self) -> Sequence[Net]:
        """The nets that have stand-ins."""

    @property
    def keepers(self) -> Mapping[int, Keeper]:
        """The keepers, by the parameter's index in the train net."""

    @property
    def growths(self) -> Sequence[Sequence[Any]]:
        """The table growth log: the batches that added rows, as JSON values; :meth:`replay` reads it."""

    def describe(self) -> str:
        """One line for the log."""

    def settle(self) -> None:
        """Materialise all parameters: write their values into the net."""

    def retire(self) -> None:
        """Materialise all parameters and remove all stand-ins."""

    def replay(self, growths: Sequence[Sequence[Any]]) -> None:
        """Replay the table growth log of an earlier process.  Seek the data layers afterwards."""

    def tower(self, net: Net, nodes: Sequence[Node]) -> TowerStart | None:
        """The start of a tower of these nodes; None where the plan has kept nothing for it."""

    def write_state(self, path: Path) -> Written | None:
        """Write the state of parameters kept in another form without materialising them; None where there are none."""

    def read_state(self, path: Path) -> None:
        """Restore that state.  Raises InputError where it does not fit."""


class Planner(Protocol):
    """Finds the parts of a net that can be computed once, or in another form, with the same numbers."""

    @property
    def kernels(self) -> Kernels:
        """The layer kernels for the contexts of the run's passes."""

    def factored(self, parameters: Sequence[Parameter]) -> FactoredGradients:
        """Let the kernels keep gradients of these parameters as factors, where that pays."""

    def plan(self, net: Net, test_nets: Sequence[Net], velocity: Velocity, momentum: float | None) -> Plan | None:
        """Put stand-ins into the nets; None where nothing can be gained.

        ``velocity`` gives a parameter's V, None for zero; ``momentum`` is the solver's, None where its update does not
        keep weights in the span of their inputs.
        """

    def merge_towers(self, net: Net) -> str | None:
        """Merge twin towers that learn; returns the range of merged layers, None where there are none."""
