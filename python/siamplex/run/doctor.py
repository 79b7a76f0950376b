"""Checks of this machine: what it can do, and what to do about what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from siamplex.caffe_engine.binary import check_gpus, find_binary, find_path
from siamplex.engine.net.limits import machine_memory
from siamplex.errors import InputError, StorageError, UsageError
from siamplex.pairs.store import stacked_bytes
from siamplex.run.durable import free_bytes, require_writable
from siamplex.weights import alexnet

OK, MISSING, NOTE = "ok", "missing", "note"

_DEMO_DISK, _DEMO_MEMORY = 3.0, 3.0  # GB that make demo takes
_REPRODUCE_DISK = 6.0


@dataclass(frozen=True)
class Check:
    """One thing looked at; ``needed`` says that nothing runs without it."""

    name: str
    state: str
    found: str
    advice: str = ""
    needed: bool = False


def check_python() -> Check:
    """Python 3.10 or newer."""
    return Check("Python", OK, platform.python_version(), needed=True)


def check_libraries() -> list[Check]:
    """Libraries the commands need."""
    needed = {"numpy": "numpy", "google.protobuf": "protobuf", "lmdb": "lmdb", "cv2": "opencv-python-headless",
              "matplotlib": "matplotlib", "scipy": "scipy", "sklearn": "scikit-learn", "h5py": "h5py",
              "pandas": "pandas", "jinja2": "jinja2", "tqdm": "tqdm", "filelock": "filelock"}  # fmt: skip
    made = []
    for module, package in needed.items():
        try:
            import_module(module)
            made.append(f"{package} {_version(package)}")
        except ImportError as error:
            return [Check("libraries", MISSING, f"{package}: {error}", f"pip install {package}", needed=True)]
    return [Check("libraries", OK, ", ".join(made), needed=True)]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def check_torch() -> list[Check]:
    """The embedded engine, and the GPUs it can use."""
    try:
        import torch
    except ImportError as error:
        return [Check("engine torch", MISSING, str(error), "pip install torch", needed=True)]
    checks = [Check("engine torch", OK, f"torch {torch.__version__}, {torch.get_num_threads()} threads", needed=True)]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        checks.append(Check("GPU", OK, ", ".join(f"cuda:{i} {n}" for i, n in enumerate(names)), "use DEVICE=cuda"))
    elif shutil.which("nvidia-smi"):
        advice = "make venv TORCH=torch takes a build for CUDA"
        checks.append(Check("GPU", MISSING, "a driver is there, but this torch cannot use it", advice))
    else:
        advice = "none is needed: stage 1 takes a minute, stage 2 about an hour on 2 cores"
        checks.append(Check("GPU", NOTE, "none", advice))
    return checks


def check_caffe() -> Check:
    """The caffe binary and the version it reports."""
    try:
        find_path()
    except InputError as error:
        if os.environ.get("CAFFE_BIN"):
            return Check("engine caffe", MISSING, f"CAFFE_BIN is {error.path}: nothing there", "correct or unset it")
        advice = "not needed: ENGINE=torch computes the same; for the real binary set CAFFE_BIN"
        return Check("engine caffe", NOTE, "no caffe binary", advice)
    try:
        binary = find_binary()
    except InputError as error:
        return Check("engine caffe", MISSING, str(error), "set CAFFE_BIN to BVLC Caffe 1.0")
    try:
        check_gpus(binary, ["0"])
    except UsageError:
        return Check("engine caffe", OK, f"{binary.path}, version {binary.version}, no GPU", "use ENGINE=caffe")
    return Check("engine caffe", OK, f"{binary.path}, version {binary.version}, with GPU", "ENGINE=caffe DEVICE=cuda")


def check_alexnet(path: Path) -> Check:
    """AlexNet's weights, recognised by content."""
    name = "AlexNet's weights"
    if not path.exists():
        advice = (
            "make weights fetches them, ALEXNET=FILE names a caffemodel, ONNX model or npz; without, drawn faces "
            "start from a stated substitute, your own only with SUBSTITUTE=1"
        )
        return Check(name, NOTE, f"no {path}", advice)
    try:
        found = alexnet.load(path, accept_other=True)
    except InputError as error:
        return Check(name, MISSING, f"{path} is another file: {error.found}", "move it away, then make weights")
    if found.kind == alexnet.FOREIGN:
        advice = "make weights fetches AlexNet's; OTHER_WEIGHTS=1 takes these, and every output says so"
        return Check(name, MISSING, f"{path} holds other weights: {found.words}", advice)
    return Check(name, OK, f"{path}: {found.words}")


def check_disk(folder: Path) -> Check:
    """Room for runs."""
    free = free_bytes(folder) / 1e9
    stacked = stacked_bytes(84_255, 227) / 1e9
    found = f"{free:.0f} GB free at {folder.resolve()}"
    try:
        require_writable(folder)
    except StorageError:
        return Check("disk", MISSING, f"{folder.resolve()} cannot be written", "OUT=elsewhere, or another folder")
    if free < _DEMO_DISK:
        return Check("disk", MISSING, found, f"make demo takes {_DEMO_DISK:g} GB: free some, or OUT=elsewhere")
    if free < _REPRODUCE_DISK:
        return Check("disk", NOTE, found, f"enough for make demo; make reproduce takes {_REPRODUCE_DISK:g} GB")
    if free < stacked:
        return Check("disk", OK, found, f"LAYOUT=stacked takes {stacked:.0f} GB for a training split of 504 images")
    return Check("disk", OK, found)


def check_memory() -> Check:
    """Memory of the machine."""
    try:
        total = machine_memory() / 1e9
    except (ValueError, OSError):
        return Check("memory", NOTE, "not told by this system")
    if total < _DEMO_MEMORY:
        advice = f"stage 2 takes up to {_DEMO_MEMORY:g} GB: STAGE2_BATCH=8, or WIDTH=0.25 to try things"
        return Check("memory", MISSING, f"{total:.1f} GB", advice)
    return Check("memory", OK, f"{total:.0f} GB, {os.cpu_count()} cores")


def check_plug_ins() -> list[Check]:
    """Layer types that other packages add (entry points of the group ``siamplex.layers``); none is imported."""
    return [
        Check("layer plug-in", NOTE, f"{entry.name} = {entry.value}" + (f" of {entry.dist.name}" if entry.dist else ""))
        for entry in metadata.entry_points(group="siamplex.layers")
    ]


def examine(folder: Path, alexnet_file: Path) -> list[Check]:
    """All checks."""
    groups: list[Callable[[], Check | list[Check]]] = [
        check_python, check_libraries, check_torch, check_caffe,
        lambda: check_alexnet(alexnet_file), lambda: check_disk(folder), check_memory, check_plug_ins,
    ]  # fmt: skip
    found: list[Check] = []
    for group in groups:
        checks = group()
        found += checks if isinstance(checks, list) else [checks]
    return found


def as_text(checks: list[Check]) -> str:
    """A line for each check, what to do below it, and a summary."""
    width = max(len(c.name) for c in checks) + 2
    lines = []
    for c in checks:
        lines.append(f"{c.state:<9}{c.name:<{width}}{c.found}")
        if c.advice:
            lines.append(f"{'':<9}{'':<{width}}-> {c.advice}")
    broken = [c.name for c in checks if c.needed and c.state == MISSING]
    lines += ["", f"cannot run without: {', '.join(broken)}" if broken else "make demo can run here"]
    return "\n".join(lines)
