"""Solver settings of the two stages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from siamplex.errors import UsageError
from siamplex.schema import messages
from siamplex.schema.messages import enum_value

_LARGEST = 2**31 - 1  # of Caffe's int32


@dataclass(frozen=True)
class SolverOptions:
    """SGD settings.  base_lr, policy, stepsize and 5000 iterations are the paper's.

    The paper is silent on gamma, momentum, weight decay and batch size: those are Caffe's and AlexNet's usual ones.  It
    stopped on the validation set.  The validation set is therefore tested before training (Caffe's test_initialization)
    and every ``test_interval`` iterations, at least twice, with ``test_iter`` batches each.
    """

    base_lr: float = 1e-4
    lr_policy: str = "step"
    stepsize: int = 5000
    gamma: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    max_iter: int = 5000
    display: int = 20
    snapshot: int = 1000
    test_interval: int = 250
    test_iter: int = 10
    seed: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum: expected 0 up to 1, found {self.momentum:g}")
        if not 0 < self.base_lr < math.inf:
            raise UsageError(f"--base-lr: expected more than 0, found {self.base_lr:g}")
        for option, value, least in (
            ("iterations", self.max_iter, 1), ("stepsize", self.stepsize, 1), ("display", self.display, 0),
            ("snapshot", self.snapshot, 0), ("test-interval", self.test_interval, 1), ("test-iter", self.test_iter, 1),
        ):  # fmt: skip
            if value < least:
                raise UsageError(f"--{option}: expected at least {least}, found {value}")
            if value > _LARGEST:
                raise UsageError(f"--{option}: expected at most {_LARGEST}, found {value}")
        if abs(self.seed) > _LARGEST:
            raise UsageError(f"--seed: expected a number of at most {_LARGEST}, found {self.seed}")
        for option, share in (("gamma", self.gamma), ("weight-decay", self.weight_decay)):
            if not 0 <= share < math.inf:
                raise UsageError(f"--{option}: expected 0 or more, found {share:g}")


def solver(options: SolverOptions, net: str, prefix: str, has_test: bool) -> Any:
    """A SolverParameter that trains the net file ``net`` and snapshots under ``prefix``."""
    message = messages.SolverParameter(net=net)
    if has_test:
        message.test_iter.append(options.test_iter)
        # a short stage is looked at half-way and at its end all the same
        message.test_interval = min(options.test_interval, max(1, options.max_iter // 2))
    message.base_lr = options.base_lr
    message.lr_policy = options.lr_policy
    message.gamma = options.gamma
    message.stepsize = options.stepsize
    message.momentum = options.momentum
    message.weight_decay = options.weight_decay
    message.max_iter = options.max_iter
    message.display = options.display
    message.snapshot = options.snapshot
    message.snapshot_prefix = prefix
    message.random_seed = options.seed
    message.solver_mode = enum_value("SolverMode", "GPU" if options.device != "cpu" else "CPU")
    return message
