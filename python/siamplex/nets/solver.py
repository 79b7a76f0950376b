"""Solver settings of the two stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from siamplex.errors import UsageError
from siamplex.schema import messages
from siamplex.schema.messages import enum_value


@dataclass(frozen=True)
class SolverOptions:
    """SGD settings.  base_lr, policy, stepsize and 5000 iterations are the paper's.

    The paper is silent on gamma, momentum, weight decay, batch size: those are Caffe's and
    AlexNet's usual ones.  It stopped on the validation set, which is therefore looked at from the start
    (Caffe's test_initialization) and every ``test_interval`` iterations, at least twice, ``test_iter`` batches at a
    time.
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
        if self.base_lr <= 0:
            raise UsageError(f"--base-lr: expected more than 0, found {self.base_lr:g}")
        if self.max_iter < 1:
            raise UsageError(f"--iterations: expected at least 1, found {self.max_iter}")


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
