"""Stochastic gradient descent with momentum, with Caffe's order of steps and Caffe's history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from siamplex.engine.net.node import Parameter
from siamplex.engine.net.plan import FactoredGradients, Keeper, Planner
from siamplex.engine.training.process_group import ProcessGroup
from siamplex.engine.training.update_rules import KEPT, rule_of, type_of
from siamplex.schema.prototxt import Prototxt

_BLOCK = 1 << 18  # values updated together, so that they stay in the processor's cache


class SGD:
    """One update: clip, average over iter_size, decay, V = momentum V + lr g, W = W - V.

    The rate is inside V, so a change of the rate affects new gradients only; torch's SGD differs here.
    ``history`` holds V (float32, shaped as its parameter) in the order of the net's parameters, as in a solverstate.
    Caffe's other solver types differ in the last two steps (:mod:`~siamplex.engine.training.update_rules`); where they
    keep two arrays for each parameter, the second arrays follow all the first ones.
    """

    def __init__(self, solver: Prototxt, parameters: list[Parameter], group: ProcessGroup | None = None) -> None:
        self.group = group or ProcessGroup()
        p = self._p = solver.message
        self.parameters = parameters
        if p.weight_decay and p.regularization_type not in ("L1", "L2"):
            raise solver.error(
                f"regularization_type '{p.regularization_type}' is neither L1 nor L2",
                "regularization_type", 0,
            )  # fmt: skip
        if p.iter_size < 1:
            raise solver.error("iter_size must be positive", "iter_size", 0)
        self.kind = type_of(solver)
        self._rule = rule_of(solver) if self.kind != "SGD" else None
        self.kept = KEPT[self.kind]
        self._momentum, self._share, self._l2 = float(p.momentum), 1.0 / p.iter_size, p.regularization_type == "L2"
        self._history: dict[int, torch.Tensor] = {}
        self._keepers: dict[int, Keeper] = {}
        self._updates: dict[int, torch.Tensor] = {}  # the last update of each parameter, for snapshot_diff
        self.wide: FactoredGradients | None = None
        self.clipped: float | None = None  # the gradients' norm before clipping, where the last update clipped them

    # --- history

    def history(self, index: int) -> torch.Tensor:
        """The history array at ``index`` (V of that parameter); zeros where there was no update."""
        found = self._keepers[index].velocity if index in self._keepers else self._history.get(index)
        return torch.zeros_like(self.parameters[index % len(self.parameters)].tensor) if found is None else found

    def velocity(self, index: int) -> torch.Tensor | None:
        """V of parameter ``index``, None where there was no update; with a keeper, V as last materialised.

        Also None for solver types that keep moments instead of a velocity: at a rate of 0 these change nothing.
        """
        if self.kind not in ("SGD", "Nesterov"):
            return None
        if index in self._keepers:
            return self._keepers[index].velocity
        return self._history.get(index)

    @property
    def span_momentum(self) -> float | None:
        """The momentum, where an update only adds multiples of gradient and weight (no clipping, no L1); else None."""
        keeps_span = self.kind == "SGD" and self._p.clip_gradients < 0 and self._l2 and self._momentum < 1
        return self._momentum if keeps_span else None

    def delegate(self, keepers: Mapping[int, Keeper]) -> None:
        """Hand some parameters to keepers, which then hold their velocity and update them."""
        for index, keeper in keepers.items():
            self._history.pop(index, None)
            self._keepers[index] = keeper

    def keep_factors(self, planner: Planner) -> None:
        """Keep gradients as factors where nothing needs them whole."""
        if self._p.clip_gradients < 0 and self.group.world_size == 1 and self._rule is None:
            self.wide = planner.factored([p for p in self.parameters if p.by_factors])

    def take_back(self) -> None:
        """Take all velocities and pending gradients back from the keepers, whose weights must be materialised."""
        for index, keeper in self._keepers.items():
            if keeper.velocity is not None:
                self._history[index] = keeper.velocity
            weight, factors = keeper.parameter.tensor, keeper.give_up_gradients()
            wide = self.wide.of(weight) if self.wide else None
            if wide is not None:
                wide += factors
            elif factors:
                weight.grad = sum((gradient.t() @ x for gradient, x in factors), torch.zeros_like(weight))
        self._keepers.clear()

    def set_history(self, index: int, values: torch.Tensor) -> None:
        """Restore a saved V; all zeros count as none."""
        if bool(values.any()):
            self._history[index] = values
        else:
            self._history.pop(index, None)

    def moments(self) -> dict[int, torch.Tensor]:
        """Copies of all history arrays by index, for solver types that keep moments; empty for SGD and Nesterov."""
        return {} if self.kind in ("SGD", "Nesterov") else {at: array.clone() for at, array in self._history.items()}

    def set_moments(self, moments: dict[int, torch.Tensor]) -> None:
        """Restore :meth:`moments` and discard later ones."""
        if self.kind not in ("SGD", "Nesterov"):
            self._history = dict(moments)

    def drop_gradients(self) -> None:
        """Discard the gradients accumulated since the last update."""
        for parameter in self.parameters:
            parameter.tensor.grad = None
            factors = self.wide.of(parameter.tensor) if self.wide else None
            if factors:
                factors.clear()
        for keeper in self._keepers.values():
            keeper.drop_gradients()

    # --- update

    def last_update(self, index: int) -> torch.Tensor:
        """The last update of parameter ``index`` (the amount subtracted), with ``snapshot_diff``; at first zeros."""
        if self._rule is None:
            return self.history(index)  # V itself
        found = self._updates.get(index)
        return torch.zeros_like(self.parameters[index].tensor) if found is None else found

    @torch.no_grad()
    def update(self, rate: float, iteration: int = 0) -> None:
        """Apply the gradients accumulated since the last update, at learning rate ``rate``, as of ``iteration``."""
        self.group.average(p.tensor.grad for p in self.parameters if p.tensor.grad is not None)
        self._clip()
        for index, parameter in enumerate(self.parameters):
            if self._rule:
                self._step(index, parameter, rate * parameter.lr_mult, iteration)
            else:
                self._move(index, parameter, rate * parameter.lr_mult)
            parameter.tensor.grad = None

    def _step(self, index: int, parameter: Parameter, rate: float, iteration: int) -> None:
        """Apply the rule of another solver type.  A frozen parameter's decay enters its history, as in Caffe."""
        assert self._rule
        weight, count = parameter.tensor, len(self.parameters)
        kept = []
        for place in range(index, self.kept * count, count):
            if place not in self._history:
                self._history[place] = torch.zeros_like(weight)
            kept.append(self._history[place])
        gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
        if self._share != 1:
            gradient.mul_(self._share)
        decay = self._p.weight_decay * parameter.decay_mult
        if decay:
            gradient.add_(weight if self._l2 else weight.sign(), alpha=decay)
        before = weight.clone() if self._p.snapshot_diff else None
        self._rule(weight, kept, gradient, rate, iteration)
        if before is not None:
            self._updates[index] = before.sub_(weight)

    def _move(self, index: int, parameter: Parameter, rate: float) -> None:
        if index in self._keepers:
            decay = self._p.weight_decay * parameter.decay_mult
            joined = self.group.gathered if self.group.world_size > 1 else None
            share = 1.0 / (self._p.iter_size * self.group.world_size)
            self._keepers[index].update(rate, decay, share, joined)
            return
        weight, velocity = parameter.tensor, self._history.get(index)
        if rate == 0 and velocity is None:
            return  # a frozen parameter without momentum stays where it is
        if velocity is None:
            velocity = self._history[index] = torch.zeros_like(weight)
        blocks = self.wide.take(weight) if self.wide else None
        decay = self._p.weight_decay * parameter.decay_mult
        if blocks is not None:
            for rows, gradient in blocks:
                self._apply(rate, decay, weight[rows], velocity[rows], gradient)
        elif rate:
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            self._apply(rate, decay, weight, velocity, gradient)
        else:
            self._apply(rate, decay, weight, velocity, None)

    def _apply(
        self, rate: float, decay: float, weight: torch.Tensor, velocity: torch.Tensor, gradient: torch.Tensor | None
    ) -> None:
        # the same roundings in the same order as Caffe's: with a near tie in a pooling window, one different
        # rounding makes the run diverge from Caffe's
        arrays = [weight, velocity] if gradient is None else [weight, velocity, gradient]
        if weight.numel() <= _BLOCK:
            self._apply_block(rate, decay, *arrays)
            return
        for block in zip(*(a.view(-1).split(_BLOCK) for a in arrays), strict=True):
            self._apply_block(rate, decay, *block)

    def _apply_block(
        self, rate: float, decay: float, w: torch.Tensor, v: torch.Tensor, g: torch.Tensor | None = None
    ) -> None:
        v.mul_(self._momentum)
        if g is not None:
            if self._share != 1:
                g.mul_(self._share)
            if decay:
                g.add_(w if self._l2 else w.sign(), alpha=decay)
            v.add_(g, alpha=rate)
        w.sub_(v)

    def _clip(self) -> None:
        """Scale all gradients down to a joint L2 norm of clip_gradients, where that is set."""
        limit, self.clipped = self._p.clip_gradients, None
        if limit < 0:
            return
        gradients: list[Any] = [p.tensor.grad for p in self.parameters if p.tensor.grad is not None]
        if not gradients:
            return
        norm = float(torch.stack([g.double().square().sum() for g in gradients]).sum().sqrt())
        if norm > limit:
            self.clipped = norm
            for gradient in gradients:
                gradient.mul_(limit / norm)
