"""Finds the caffe binary, and checks its version and GPU support before it is given work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from siamplex.caffe_engine.log import fatal
from siamplex.errors import InputError, UsageError

_WAIT = 60  # seconds for a question
_SERVED = "1.0"  # versions 1.0.x
_CPU_ONLY = "CPU-only"
_ADVICE = "set CAFFE_BIN to BVLC Caffe 1.0, or use --engine torch"


@dataclass(frozen=True)
class Binary:
    """A caffe binary that answered, and the version it said."""

    path: Path
    version: str

    @property
    def feature_tool(self) -> Path:
        """``extract_features``, which is installed beside ``caffe``.  Raises InputError."""
        names = ("extract_features", "extract_features.bin")
        beside = [self.path.resolve().parent / name for name in names]
        found = next((str(p) for p in beside if os.access(p, os.X_OK)), None) or shutil.which(names[0])
        if not found:
            raise InputError(beside[0], "Caffe's feature tool (or use --engine torch to extract)", "nothing there")
        return Path(found)


def find_path() -> Path:
    """The caffe binary: $CAFFE_BIN, or ``caffe`` on the PATH.  Raises InputError."""
    named = os.environ.get("CAFFE_BIN")
    found = shutil.which(named or "caffe")
    if not found:
        raise InputError(named or "caffe", "the caffe binary (set CAFFE_BIN, or use --engine torch)", "none")
    return Path(found)


def find_binary() -> Binary:
    """The caffe binary, asked for its version.  Raises InputError where it is none, or not Caffe 1.0."""
    path = find_path()
    said = _ask(path, "--version")
    version = re.search(r"\bversion (\d\S*)", said)
    if not version:
        raise InputError(path, f"a caffe binary ({_ADVICE})", _first(said) or "no answer to --version")
    if not re.match(rf"{re.escape(_SERVED)}(\D|$)", version.group(1)):
        raise InputError(path, f"Caffe {_SERVED} ({_ADVICE})", f"version {version.group(1)}")
    return Binary(path, version.group(1))


def gpus_of(device: str) -> list[str]:
    """GPU numbers of ``cpu`` (none), ``cuda``, ``cuda:N``, ``cuda:N,M`` or ``cuda:all``.  Raises UsageError."""
    if device == "cpu":
        return []
    match = re.fullmatch(r"cuda(?::(all|\d+(?:,\d+)*))?", device)
    if not match:
        raise UsageError(f"--device: expected cpu, cuda, cuda:N, cuda:N,M or cuda:all, found '{device}'")
    return (match.group(1) or "0").split(",")


def check_gpus(binary: Binary, gpus: list[str]) -> None:
    """Let the binary itself say whether it can use GPUs.  Raises UsageError with what to do."""
    if not gpus:
        return
    said = _ask(binary.path, "device_query", f"-gpu={','.join(gpus)}")
    found = fatal(said.splitlines())
    if found and _CPU_ONLY in found:
        raise UsageError(
            f"{binary.path}: expected a build with GPU support, found a CPU-only one "
            "(use --device cpu, or --engine torch --device cuda)"
        )
    if found:
        raise UsageError(f"{binary.path}: expected it to use GPU {','.join(gpus)}, found: {found}")


def _ask(path: Path, *arguments: str) -> str:
    """What the binary prints, on either stream."""
    try:
        answer = subprocess.run(
            [str(path), *arguments], capture_output=True, text=True, errors="replace", timeout=_WAIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(path, f"a caffe binary that runs ({_ADVICE})", str(error)) from None
    return answer.stdout + answer.stderr


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:200]
