"""Data-parallel training in a process group started by ``torchrun``: each process runs its share of every batch.

Every process reads the whole batch and runs its own rows of it.  Gradients and losses are averaged over the group, so
the effective batch, the losses and the weights equal those of a single process, up to the order of sums.
Caffe's own multi-GPU training instead gives each GPU a whole batch of the prototxt's size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import distributed

from siamplex.engine.layers.accuracy import Accuracy
from siamplex.engine.layers.concat import Concat
from siamplex.engine.layers.dropout import Dropout
from siamplex.engine.layers.slice import Slice
from siamplex.engine.net.feeding import FeedingLayer
from siamplex.engine.net.layer import Share
from siamplex.engine.net.net import Net
from siamplex.engine.net.node import Node
from siamplex.errors import UsageError
from siamplex.schema.messages import enum_name

# losses that are means over samples: always, or unless some samples are ignored
_MEANS = frozenset({"ContrastiveLoss", "EuclideanLoss", "HingeLoss", "MultinomialLogisticLoss"})
_NORMALISED = frozenset({"SoftmaxWithLoss", "SigmoidCrossEntropyLoss", "InfogainLoss"})


@dataclass(frozen=True)
class ProcessGroup:
    """The process group as seen by one process: its rank and the world size.  The default is a single process."""

    rank: int = 0
    world_size: int = 1

    @property
    def share(self) -> Share:
        """Which rows of a batch are this process's."""
        return Share(self.rank, self.world_size)

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the process of rank 0, which writes files and the log."""
        return self.rank == 0

    # --- numbers

    def mean(self, value: float) -> float:
        """The mean of a number over the group."""
        return self._reduced(value, distributed.ReduceOp.SUM) / self.world_size if self.world_size > 1 else value

    def largest(self, value: int) -> int:
        """The largest of a number over the group."""
        return int(self._reduced(value, distributed.ReduceOp.MAX)) if self.world_size > 1 else value

    def of_rank_zero(self, value: int) -> int:
        """The number that rank 0 has."""
        return self.largest(value if self.is_rank_zero else -1)

    def _reduced(self, value: float, how: distributed.ReduceOp.RedOpType) -> float:
        tensor = torch.tensor([value], dtype=torch.float64, device=self._device)
        distributed.all_reduce(tensor, how)
        return float(tensor)

    @property
    def _device(self) -> str:
        return "cuda" if distributed.get_backend() == "nccl" else "cpu"

    # --- gradients

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Make each tensor its mean over the group, in place."""
        if self.world_size == 1:
            return
        for tensor in tensors:
            distributed.all_reduce(tensor)
            tensor.div_(self.world_size)

    def gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors (n, ...) of all processes, concatenated along the first axis in the order of ranks."""
        if self.world_size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.world_size)]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def wait(self) -> None:
        """Wait until all processes have called this (a barrier)."""
        if self.world_size > 1:
            distributed.barrier()


def join_process_group(device: str) -> tuple[ProcessGroup, str]:
    """Join the process group of ``torchrun``, or else form a single process; returns it and this process's device.

    Raises UsageError.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup(), device
    cuda = device.startswith("cuda")
    if cuda and ":" in device:
        raise UsageError(f"--device: expected cuda under torchrun (each process takes one GPU), found '{device}'")
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if cuda else "gloo")
    return ProcessGroup(distributed.get_rank(), distributed.get_world_size()), device


def leave_process_group() -> None:
    """Leave the process group, where there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def check_divisible(net: Net) -> None:
    """Refuse a training net whose loss over a batch is not the mean of the losses over its shares."""
    for node in net.nodes:
        problem = _problem(node)
        if problem:
            raise node.layer.spec.error(f"cannot be trained by several processes: {problem}")
    if net.inputs:
        raise UsageError(f"{net.source.path}: expected samples from Data layers alone, found input '{net.inputs[0]}'")


def _problem(node: Node) -> str | None:
    layer, kind = node.layer, node.layer.spec.type
    if any(node.loss_weights):
        loss = layer.spec.message.loss_param
        even = not loss.HasField("ignore_label") and enum_name(loss, "normalization") != "NONE"
        is_mean = kind in _MEANS or (kind in _NORMALISED and even)
        return None if is_mean else "its loss is no mean over samples"
    if isinstance(layer, (Slice, Concat)):
        return None if layer.along else "it takes batches apart"
    if isinstance(layer, (FeedingLayer, Dropout, Accuracy)) or layer.per_sample or kind == "Input":
        return None  # inputs are refused by their own error
    return "its result for a sample may depend on others"
