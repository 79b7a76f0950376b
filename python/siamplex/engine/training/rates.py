"""Learning rate of an iteration, by Caffe's lr_policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from siamplex.schema.prototxt import Prototxt

_NEEDED = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma",),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
}

_F = np.float32


class RatePolicy:
    """lr at iteration i, float32.

    fixed base; step base g^(i // stepsize); exp base g^i; inv base (1 + g i)^-power; multistep
    base g^(step values reached, one an iteration at most, in their order, which need not rise); poly
    base (1 - i / max_iter)^power; sigmoid
    base / (1 + exp(-g (i - stepsize))).  ``current_step`` is what a solverstate keeps.

    Each step of inv, poly and sigmoid is rounded to float32, as in Caffe; the others' powers are of doubles there.
    """

    def __init__(self, solver: Prototxt) -> None:
        self._p = p = solver.message
        policy = str(p.lr_policy)
        if policy not in _NEEDED:
            raise solver.error(f"lr_policy '{policy}' is not supported (known: {', '.join(_NEEDED)})", "lr_policy", 0)
        if "gamma" in _NEEDED[policy] and not p.gamma >= 0:  # Caffe: at its first step
            raise solver.error(f"gamma {p.gamma:g} is {'negative' if p.gamma < 0 else 'no number'}", "gamma", 0)
        if "stepsize" in _NEEDED[policy] and p.stepsize <= 0:
            raise solver.error("stepsize must be positive", "stepsize", 0)
        self.current_step = 0
        self._rate: Callable[[int, Any], float] = getattr(self, f"_{policy}")

    def __call__(self, iteration: int) -> float:
        """The rate of ``iteration``.  Call once for each, in order: multistep counts its steps."""
        with np.errstate(over="ignore"):
            return float(np.float32(self._rate(iteration, self._p)))

    def _fixed(self, i: int, p: Any) -> float:
        return float(p.base_lr)

    def _step(self, i: int, p: Any) -> float:
        self.current_step = i // int(p.stepsize)
        return float(p.base_lr * _power(p.gamma, self.current_step))

    def _exp(self, i: int, p: Any) -> float:
        return float(p.base_lr * _power(p.gamma, i))

    def _inv(self, i: int, p: Any) -> float:
        grown = _F(1) + _F(p.gamma) * _F(i)
        return float(_F(p.base_lr) * _F(_power(float(grown), -p.power)))

    def _multistep(self, i: int, p: Any) -> float:
        if self.current_step < len(p.stepvalue) and i >= p.stepvalue[self.current_step]:
            self.current_step += 1
        return float(p.base_lr * _power(p.gamma, self.current_step))

    def _poly(self, i: int, p: Any) -> float:
        left = _F(1) - _F(i) / _F(max(1, p.max_iter))
        return float(_F(p.base_lr) * _F(_power(max(0.0, float(left)), p.power)))

    def _sigmoid(self, i: int, p: Any) -> float:
        # past exp's range the rate is 0 to float32
        exponent = float(-_F(p.gamma) * (_F(i) - _F(p.stepsize)))
        return float(_F(p.base_lr) * (_F(1) / (_F(1) + _F(math.exp(min(700.0, exponent))))))


def _power(base: float, exponent: float) -> float:
    """A power of a base from 0 on; infinite where it is beyond all numbers, as in C."""
    try:
        return float(base**exponent)
    except (OverflowError, ZeroDivisionError):
        return math.inf
