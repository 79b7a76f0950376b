"""Units that are dead: behind a ReLU, no row trained on makes them give more than zero.

A dead unit has no gradient: its weights move by momentum and decay alone, which two numbers say.  So it need not be
computed until something lifts it, and a bound on its outputs tells when that could be.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.gram_arrays import Heights, Matrix

SLACK = 1e-3  # of a unit's largest output, by which it must be below zero to count as dead
WORTH_IT = 0.8  # of all units, up to which it is worth picking out the active ones
FIRST_LOOK, LAST_LOOK = 64, 256  # iterations until dead units are looked for, at first and in the end


@dataclass(frozen=True)
class DeadUnits:
    """``units`` (K,) that are left alone, as they were when that began.

    ``top`` (K,) is the most they gave for a row trained on, ``reach`` (K,) the most they had either way; ``p`` stands
    before the form's P for them, which has been multiplied out since.
    """

    units: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    top: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    reach: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    p: Matrix = field(default_factory=lambda: np.eye(2))

    @staticmethod
    def all_but(active: torch.Tensor, width: int, heights: Heights, p: Matrix) -> DeadUnits:
        """All of ``width`` units but the active ones, of these heights."""
        top, reach = heights
        dead = np.ones(width, bool)
        dead[active.cpu().numpy()] = False
        return DeadUnits(np.flatnonzero(dead), top[dead], reach[dead], p)

    def multiplied_out(self, p: Matrix) -> DeadUnits:
        """The same units, where the form's P was ``p`` and is 1 again."""
        return replace(self, p=p @ self.p)

    def still_dead(self, r: float, v: float, lag: float, bias: torch.Tensor | None) -> bool:
        """Whether they are below zero for every row trained on, where W is so much of r and so much of v."""
        # W is (1 - s) r + s (r + lag v) for s = v / lag from 0 to 1, but for this part of it
        s = v / lag if lag else 0.0
        beyond = abs(r - 1) + max(0.0, -s, s - 1) + (0.0 if lag else abs(v))
        height = self.top + np.float32(beyond) * self.reach
        if bias is not None:
            height += bias.detach().numpy()[self.units]
        return bool((height < 0).all())


def active_units(heights: Heights, bias: torch.Tensor | None) -> torch.Tensor | None:
    """The units (K,) that are not dead; None where too few are for it to be worth leaving them alone."""
    top, reach = heights
    height = top + SLACK * reach + (bias.detach().numpy() if bias is not None else 0)
    units = np.flatnonzero(~(height < 0))
    return torch.from_numpy(units) if len(units) <= WORTH_IT * len(top) else None


@dataclass
class Looks:
    """When to look for dead units: ``left`` iterations from now, ``after`` so many the next time."""

    left: int = field(default_factory=lambda: FIRST_LOOK)
    after: int = field(default_factory=lambda: FIRST_LOOK)

    def looked(self) -> None:
        """Look more rarely from now on."""
        self.after = min(2 * self.after, LAST_LOOK)
        self.left = self.after
