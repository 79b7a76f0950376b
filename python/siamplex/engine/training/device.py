"""The device a net runs on."""

from __future__ import annotations

import torch

from siamplex.errors import UsageError


def choose_device(name: str) -> torch.device:
    """``cpu``, ``cuda`` or ``cuda:N``; raises UsageError for one this machine has not."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, found '{name}'") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("--device: expected a CUDA device, found none that torch can use")
        # Caffe computes in float32; TF32 would keep only ten bits of each product
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    elif device.type != "cpu":
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, found '{name}'")
    return device
