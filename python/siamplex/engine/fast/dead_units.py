"""Dead units: units before a ReLU whose output is below zero for every row trained on.

A dead unit has no gradient.  Only momentum and decay change its weights, and these act on all units alike.  The dual
form (:mod:`~siamplex.engine.fast.gram`) skips dead units and checks a bound on their outputs in every iteration.  Once
the bound no longer proves that they are below zero, all units are reactivated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.gram_arrays import Heights, Matrix

SLACK = 1e-3  # of a unit's largest output, by which it must be below zero to count as dead
WORTH_IT = 0.8  # largest share of active units at which skipping the dead ones pays
FIRST_LOOK, LAST_LOOK = 64, 256  # iterations between two searches for dead units, at first and at most


@dataclass(frozen=True)
class DeadUnits:
    """The skipped ``units`` (K,) and bounds on their outputs, taken when skipping began.

    ``top`` (K,) is the largest output over the rows trained on, ``reach`` (K,) the largest magnitude
    (:meth:`GramArrays.heights`).  ``p`` is the transform that the dual form has applied to the active units alone
    since then; the transform of the dead units is P ``p``.
    """

    units: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    top: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    reach: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    p: Matrix = field(default_factory=lambda: np.eye(2))

    @staticmethod
    def all_but(active: torch.Tensor, width: int, heights: Heights, p: Matrix) -> DeadUnits:
        """All of ``width`` units except the active ones; ``heights`` are those of all units."""
        top, reach = heights
        dead = np.ones(width, bool)
        dead[active.cpu().numpy()] = False
        return DeadUnits(np.flatnonzero(dead), top[dead], reach[dead], p)

    def multiplied_out(self, p: Matrix) -> DeadUnits:
        """The same units after the dual form applied its transform ``p`` and reset it to the identity."""
        return replace(self, p=p @ self.p)

    def still_dead(self, r: float, v: float, lag: float, bias: torch.Tensor | None) -> bool:
        """Whether the bound proves that all are below zero for every row trained on, where W = ``r`` r + ``v`` v."""
        # W = (1 - s) r + s (r + lag v) with s = v / lag in [0, 1], up to this remainder
        s = v / lag if lag else 0.0
        beyond = abs(r - 1) + max(0.0, -s, s - 1) + (0.0 if lag else abs(v))
        height = self.top + np.float32(beyond) * self.reach
        if bias is not None:
            height += bias.detach().numpy()[self.units]
        return bool((height < 0).all())


def active_units(heights: Heights, bias: torch.Tensor | None) -> torch.Tensor | None:
    """The units (K,) that are not dead; None where too few are dead for skipping them to pay."""
    top, reach = heights
    height = top + SLACK * reach + (bias.detach().numpy() if bias is not None else 0)
    units = np.flatnonzero(~(height < 0))
    return torch.from_numpy(units) if len(units) <= WORTH_IT * len(top) else None


@dataclass
class Looks:
    """Schedule of the search for dead units: the next one in ``left`` iterations, then one after ``after`` more."""

    left: int = field(default_factory=lambda: FIRST_LOOK)
    after: int = field(default_factory=lambda: FIRST_LOOK)

    def looked(self) -> None:
        """Schedule the next search, at up to twice the interval."""
        self.after = min(2 * self.after, LAST_LOOK)
        self.left = self.after
