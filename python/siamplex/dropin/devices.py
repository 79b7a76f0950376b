"""Which device ``-gpu`` means on this machine."""

from __future__ import annotations

from siamplex.dropin.flags import Flags
from siamplex.dropin.glog import info
from siamplex.errors import UsageError


def device_of(flags: Flags, default: str = "cpu") -> str:
    """``cpu`` or ``cuda:N`` of ``-gpu``; ``default`` where it is not given.  Raises UsageError."""
    gpus = flags.listed("gpu")
    if not gpus:
        if default == "cpu":
            info("Use CPU.", "caffe.cpp:197" if flags.command == "train" else "caffe.cpp:0")
        else:
            info(f"Using GPUs {default.partition(':')[2]}")
        return default
    if len(gpus) > 1 or gpus == ["all"]:
        raise UsageError(
            f"-gpu: expected one GPU, found '{flags['gpu']}' (several: torchrun --nproc-per-node N -m siamplex train)"
        )
    if not gpus[0].isdigit():
        raise UsageError(f"-gpu: expected a number, found '{gpus[0]}'")
    info(f"Using GPUs {gpus[0]}")
    return f"cuda:{gpus[0]}"


def query(flags: Flags) -> None:
    """Say what the GPUs are.  Raises UsageError where there is none."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise UsageError("caffe device_query: expected a CUDA device, found none that torch can use")
    wanted = range(count) if flags["gpu"] in ("", "all") else [int(g) for g in flags.listed("gpu") if g.isdigit()]
    info(f"Querying GPUs {flags['gpu'] or 'all'}")
    for index in wanted:
        if index >= count:
            raise UsageError(f"-gpu: expected a number below {count}, found {index}")
        p = torch.cuda.get_device_properties(index)
        for name, value in (
            ("Device id", index),
            ("Major revision number", p.major),
            ("Minor revision number", p.minor),
            ("Name", p.name),
            ("Total global memory", p.total_memory),
            ("Number of multiprocessors", p.multi_processor_count),
        ):
            info(f"{name + ':':<31}{value}")
