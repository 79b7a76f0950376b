"""The update rules of Caffe's solver types.

g is the gradient (clipped, averaged over iter_size, decay added), lr the rate times lr_mult, W the parameter.  h and u
are the history arrays that the type keeps for each parameter, as in a solverstate.

===========  ==========================================================================================
SGD          h = m h + lr g;  W -= h
Nesterov     p = h;  h = m h + lr g;  W -= (1 + m) h - m p
AdaGrad      h += g^2;  W -= lr g / (sqrt(h) + delta)
RMSProp      h = r h + (1 - r) g^2;  W -= lr g / (sqrt(h) + delta)
AdaDelta     h = m h + (1 - m) g^2;  d = g sqrt((u + delta) / (h + delta));  u = m u + (1 - m) d^2;  W -= lr d
Adam         h = m h + (1 - m) g;  u = n u + (1 - n) g^2;
             W -= lr sqrt(1 - n^t) / (1 - m^t) h / (sqrt(u) + delta),  t counting iterations from 1
===========  ==========================================================================================

m is ``momentum``, n ``momentum2``, r ``rms_decay``.  AdaDelta and Adam keep two arrays a parameter: a solverstate has
h of all parameters, then u of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from siamplex.schema import prototxt
from siamplex.schema.messages import enum_name
from siamplex.schema.prototxt import Prototxt

Arrays = Sequence[torch.Tensor]
# (W, history arrays, g, lr, iteration): updates W and the arrays in place; g may be overwritten
Rule = Callable[[torch.Tensor, Arrays, torch.Tensor, float, int], None]

KEPT = {"SGD": 1, "Nesterov": 1, "AdaGrad": 1, "RMSProp": 1, "AdaDelta": 2, "Adam": 2}
_OLD_NAMES = {name.upper(): name for name in KEPT}


def about_solver_type(name: str) -> str | None:
    """The error text for an unknown solver type, by its old or new name; None for a known one."""
    if name in KEPT or name in _OLD_NAMES:
        return None
    meant = {known.lower(): known for known in KEPT}.get(name.lower())
    hint = f"; '{meant}' is" if meant else ""
    return f"solver type '{name}' is not known{hint} (known: {', '.join(KEPT)})"


prototxt.about_solver_type = about_solver_type


def type_of(solver: Prototxt) -> str:
    """The solver's type by its new name, also where the old field ``solver_type`` states it.  Raises PrototxtError."""
    p = solver.message
    if p.HasField("type") and p.HasField("solver_type"):
        raise solver.error("give type or solver_type, not both", "solver_type", 0)
    if p.HasField("solver_type"):
        return _OLD_NAMES[enum_name(p, "solver_type")]
    if p.type not in KEPT:
        raise solver.error(about_solver_type(str(p.type)) or _by_old_name(str(p.type)), "type", 0)
    return str(p.type)


def _by_old_name(name: str) -> str:
    return f"type '{name}' is the old solver_type's: write solver_type: {name}, or type: \"{_OLD_NAMES[name]}\""


def check(solver: Prototxt) -> None:
    """Refuse the settings of a solver type that Caffe refuses.  Raises PrototxtError."""
    p, kind = solver.message, type_of(solver)
    if kind in ("AdaGrad", "RMSProp") and p.momentum:
        raise solver.error(f"momentum cannot be used with {kind}", "momentum", 0)
    if kind == "RMSProp" and not 0 <= p.rms_decay < 1:
        raise solver.error(f"rms_decay {p.rms_decay:g} does not lie from 0 up to 1", "rms_decay", 0)
    if kind == "Adam" and abs(p.momentum) == 1:  # Caffe divides by 0 here, and takes roots of negative numbers below
        raise solver.error(f"momentum {p.momentum:g} makes Adam's steps infinite", "momentum", 0)
    if kind == "Adam" and abs(p.momentum2) > 1:
        raise solver.error(f"momentum2 {p.momentum2:g} lies beyond 1: Adam's steps are no numbers", "momentum2", 0)


def rule_of(solver: Prototxt) -> Rule:
    """The rule of a solver's type; :class:`~siamplex.engine.training.sgd.SGD` implements SGD's own rule."""
    made: dict[str, Callable[[Any], Rule]] = {
        "Nesterov": _nesterov, "AdaGrad": _adagrad, "RMSProp": _rmsprop, "AdaDelta": _adadelta, "Adam": _adam,
    }  # fmt: skip
    return made[type_of(solver)](solver.message)


def _nesterov(p: Any) -> Rule:
    momentum = float(p.momentum)

    def step(w: torch.Tensor, kept: Arrays, g: torch.Tensor, lr: float, iteration: int) -> None:
        (h,) = kept
        before = h.clone()
        h.mul_(momentum).add_(g, alpha=lr)
        w.sub_(h.mul(1 + momentum).sub_(before, alpha=momentum))

    return step


def _adagrad(p: Any) -> Rule:
    delta = float(p.delta)

    def step(w: torch.Tensor, kept: Arrays, g: torch.Tensor, lr: float, iteration: int) -> None:
        (h,) = kept
        h.addcmul_(g, g)
        w.sub_(g.div_(h.sqrt().add_(delta)), alpha=lr)

    return step


def _rmsprop(p: Any) -> Rule:
    decay, delta = float(p.rms_decay), float(p.delta)

    def step(w: torch.Tensor, kept: Arrays, g: torch.Tensor, lr: float, iteration: int) -> None:
        (h,) = kept
        h.mul_(decay).addcmul_(g, g, value=1 - decay)
        w.sub_(g.div_(h.sqrt().add_(delta)), alpha=lr)

    return step


def _adadelta(p: Any) -> Rule:
    momentum, delta = float(p.momentum), float(p.delta)

    def step(w: torch.Tensor, kept: Arrays, g: torch.Tensor, lr: float, iteration: int) -> None:
        h, u = kept
        h.mul_(momentum).addcmul_(g, g, value=1 - momentum)
        d = u.add(delta).div_(h.add(delta)).sqrt_().mul_(g)
        u.mul_(momentum).addcmul_(d, d, value=1 - momentum)
        w.sub_(d, alpha=lr)

    return step


def _adam(p: Any) -> Rule:
    first, second, delta = float(p.momentum), float(p.momentum2), float(p.delta)

    def step(w: torch.Tensor, kept: Arrays, g: torch.Tensor, lr: float, iteration: int) -> None:
        h, u = kept
        h.mul_(first).add_(g, alpha=1 - first)
        u.mul_(second).addcmul_(g, g, value=1 - second)
        t = iteration + 1
        correction = math.sqrt(1 - second**t) / (1 - first**t)
        w.sub_(h.div(u.sqrt().add_(delta)), alpha=lr * correction)

    return step
