"""Trial steps: a few updates on the first batch, undone afterwards, that detect a run which must diverge.

The trial repeats the first batch with the same dropout masks and the solver's own update.  Gradient descent on one
batch is the easiest task; if even its loss grows by orders of magnitude, beyond the scale of the margin, the run must
diverge.  A learning rate that is merely too high makes the loss rise for a while, or units die; it is not refused.

Why steps and not a bound: one step of SGD at rate lr moves the outputs of an InnerProduct, for a row x of its input, by

    dz(x) = - lr * sum over rows n of (x . x_n) g_n,        g_n = dL/dz_n

so the step's size depends on the rate times the squared length |x|^2.  AlexNet's conv3 of photographs has
|x|^2 = 5.9e7 at pixels of 0..255.  At lr = 1e-4 each row then moves by 5,900 gradients, the new gradients are larger
by the same factor, and the loss is squared at each step.  At an input scale of 1/256 |x|^2 is 2.4e4, and the same row
moves by 2.4 gradients.  But no bound on lr |x|^2 separates the two cases for every net, since the size of the
gradients depends on the layers above, the batch and dropout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from siamplex.engine.net.carrying import Carried
from siamplex.engine.training.towers import TowerPass, find_towers
from siamplex.errors import TrainingError

if TYPE_CHECKING:
    from siamplex.engine.training.solver import Solver

STEPS = 3
# a loss so many times the larger of the first one and 1, the scale of the margin.  Measured with AlexNet's
# convolutions, three steps, base_lr 1e-4: at 0..255 1e6 and more, at 1/256 at most 1, at ten times that rate 3
EXPLODED = 1e3
_LONG = 1e6  # squared length of rows that no input at a scale like 1/256 reaches
_DECADES = 8  # of learning rates to search for one that does not diverge


@dataclass(frozen=True)
class Trial:
    """The losses of one batch: before the first trial step and after each one."""

    rate: float
    losses: tuple[float, ...]

    @property
    def exploded(self) -> bool:
        """Whether a loss is not finite, or larger than the first by orders of magnitude."""
        first, *later = self.losses
        return any(not math.isfinite(x) or x > EXPLODED * max(1.0, first) for x in later)


def check_start(solver: Solver) -> Trial | None:
    """Try the first steps of a run at its first iteration, and undo them.

    Weights, velocities, data cursors and all other state are restored bit for bit.  Returns None where nothing learns
    or the first loss is not a number.  Raises TrainingError where the run must diverge.
    """
    rate = solver.rate(solver.iteration)
    trial = try_steps(solver, rate)
    if trial is None or not trial.exploded:
        return trial
    raise TrainingError(_refusal(solver, trial, _rate_that_holds(solver, rate)))


def try_steps(solver: Solver, rate: float) -> Trial | None:
    """Take the first steps at ``rate`` and undo them; None where the first loss is not a number."""
    positions = [(layer, layer.source.position) for _, layer in solver.data_layers()]
    # statistics that every forward pass changes, the first one included
    statistics = [(p.tensor, p.tensor.detach().clone()) for p in solver.net.parameters if p.moves]
    carried = Carried(solver.net.nodes)
    kept: _Kept | None = None
    losses: list[float] = []
    try:
        for step in range(STEPS + 1):
            losses.append(solver.pass_over(learning=step < STEPS))
            for layer, position in positions:
                layer.source.seek(position)
            carried.put_back()
            trial = Trial(rate, tuple(losses))
            if not math.isfinite(losses[0]):
                return None
            if trial.exploded or step == STEPS:
                return trial
            # only now: the first pass may have added rows to a feature table, or retired the plan
            kept = kept or _Kept(solver)
            solver.sgd.update(rate, solver.iteration)
    finally:
        carried.put_back()
        solver.sgd.drop_gradients()
        if kept:
            kept.put_back()
        for tensor, values in statistics:
            tensor.detach().copy_(values)
    return None


class _Kept:
    """Copies of all arrays that an update changes."""

    def __init__(self, solver: Solver) -> None:
        self._sgd = sgd = solver.sgd
        self._keepers = solver.plan.keepers if solver.plan else {}
        self._kept = {index: keeper.copy() for index, keeper in self._keepers.items()}
        moving = [i for i, p in enumerate(sgd.parameters) if i not in self._kept and (p.lr_mult or self._velocity(i))]
        self._weights = {i: sgd.parameters[i].tensor.detach().clone() for i in moving}
        self._velocities = {i: v.clone() for i in moving if (v := sgd.velocity(i)) is not None}
        self._moments = sgd.moments()

    def _velocity(self, index: int) -> bool:
        return self._sgd.velocity(index) is not None

    @torch.no_grad()
    def put_back(self) -> None:
        for index, values in self._weights.items():
            self._sgd.parameters[index].tensor.copy_(values)
            if index in self._velocities or not self._moments:
                self._sgd.set_history(index, self._velocities.get(index, torch.zeros(1)))
        self._sgd.set_moments(self._moments)
        for index, state in self._kept.items():
            self._keepers[index].restore(state)


def _rate_that_holds(solver: Solver, rate: float) -> float | None:
    """The largest of a tenth, a hundredth, ... of ``rate`` at which no trial step raises the loss."""
    for decade in range(1, _DECADES + 1):
        trial = try_steps(solver, rate / 10**decade)
        if trial is not None and all(loss <= trial.losses[0] for loss in trial.losses):
            return rate / 10**decade
    return None


def rows_of_first_batch(solver: Solver) -> tuple[str, float] | None:
    """The first InnerProduct that learns, and the mean squared length of the rows it reads of the first batch.

    None for a net that is not siamese, or where these images are not in the feature table yet.
    """
    towers = find_towers(solver.net)
    if towers is None:
        return None
    source = towers.layer.source
    position = source.position
    values = source.at(position, int(towers.layer.params.batch_size))
    source.seek(position)
    low, high = towers.parts[0]
    tower = TowerPass(solver.net, towers, solver.plan)
    samples = values[:, low:high]
    known = tower.known(samples)
    return tower.squared_length(samples[known]) if known.any() else None


def describe(trial: Trial, rows: tuple[str, float] | None, base_lr: float) -> str:
    """One line for the log."""
    first, last = trial.losses[0], trial.losses[-1]
    what = f"rows into {rows[0]} of squared length {rows[1]:.3g}, " if rows else ""
    return f"first batch: loss {first:.4g}; {what}base_lr {base_lr:g}: loss {last:.4g} after {STEPS} steps, taken back"


def _refusal(solver: Solver, trial: Trial, holds: float | None) -> str:
    rows = rows_of_first_batch(solver)
    base_lr = float(solver.file.message.base_lr)
    later = " and ".join(f"{x:.3g}" for x in trial.losses[1:])
    remedies = []
    if rows and rows[1] > _LONG:
        remedies.append("input scale 1/256 (make SCALE=1/256, siamplex pairs --scale 1/256)")
    if holds is not None:
        remedies.append(f"base_lr {base_lr * holds / trial.rate:.1g} or below")
    length = f", rows into {rows[0]} have the squared length {rows[1]:.3g}" if rows else ""
    return (
        f"{solver.file.source.path}: expected a rate at which the first steps can be taken, found base_lr {base_lr:g}: "
        f"the first batch's loss goes from {trial.losses[0]:.4g} to {later}{length}; "
        f"remedy: {', or '.join(remedies) or 'another net or input'} (siamplex train --force-start starts it anyway)"
    )
