"""Downloads AlexNet's weights: tries a list of addresses in turn, and reports the result of each.

Public addresses come and go; a download is accepted by its content alone.
"""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from siamplex.errors import InputError, StorageError
from siamplex.run.durable import atomic_path
from siamplex.run.progress import Progress
from siamplex.weights import alexnet
from siamplex.weights.alexnet import Convolutions

_ZOO = "validated/vision/classification/alexnet/model/bvlcalexnet-12.onnx"
ADDRESSES = (
    # where BVLC published it
    "http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel",
    "https://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel",
    # the ONNX model zoo: its organisation at Hugging Face, its archive there, and its older home
    "https://huggingface.co/onnxmodelzoo/bvlcalexnet-12/resolve/main/bvlcalexnet-12.onnx",
    f"https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/{_ZOO}",
    f"https://media.githubusercontent.com/media/onnx/models/main/{_ZOO}",
    # NVIDIA's copy of BVLC's file, that its jetson-inference downloads
    "https://nvidia.box.com/shared/static/5j264j7mky11q8emy4q14w3r8hl5v6zh.caffemodel",
)
_WAIT = 30.0  # seconds without an answer
_MAX_BYTES = 400 << 20


def fetch(path: Path, addresses: Sequence[str], accept_other: bool, told: Callable[[str], None]) -> Convolutions:
    """Download to ``path`` from the first address whose file is right; ``told`` gets a line on each.

    The file takes its name only once its content is right.  Raises StorageError where the disk fails, or
    where no address has it, saying what to do by hand.
    """
    for address in addresses:
        try:
            with atomic_path(path) as part:
                _download(address, part)
                found = alexnet.load(part, accept_other)
        except InputError as error:
            told(f"{address}: dropped, {error.found}")
        except _Failed as failed:
            told(f"{address}: {failed}")
        else:
            told(f"{address}: {found.words}")
            return found
    tried = f"{len(addresses)} address{'es' if len(addresses) != 1 else ''} tried"
    raise StorageError(
        f"{path}: expected AlexNet's weights, {tried}, found none. By hand: get {alexnet.NAME} (SHA-1 {alexnet.SHA1}) "
        f"or {next(iter(alexnet.CONVERSIONS.values()))} (SHA-256 {next(iter(alexnet.CONVERSIONS))}) from anywhere, "
        f"then python tools/fetch_alexnet.py --out {path} --file FILE, or name it: ALEXNET=FILE"
    )


class _Failed(Exception):
    """An address that gave no whole file."""


def _download(address: str, part: Path) -> None:
    """Write what an address gives to ``part``.  Raises _Failed; an OSError of the disk passes."""
    try:
        answer = urllib.request.urlopen(address, timeout=_WAIT)
    except urllib.error.HTTPError as error:
        raise _Failed(f"HTTP {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _Failed(f"not reached, {_reason(error)}") from None
    with answer, part.open("wb") as handle:
        given = answer.headers.get("Content-Length") or ""
        total = int(given) if given.isdecimal() else 0
        if total > _MAX_BYTES:
            raise _Failed(f"dropped, {total} bytes, more than {_MAX_BYTES}")
        progress = Progress(f"fetch {address.rsplit('/', 1)[-1]}", total)
        try:
            while chunk := _next(answer, progress.done):
                handle.write(chunk)
                progress.step(len(chunk))
                if progress.done > _MAX_BYTES:
                    raise _Failed(f"dropped, more than {_MAX_BYTES} bytes")
        finally:
            progress.close()
        if total and progress.done != total:
            raise _Failed(f"broke off after {progress.done} of {total} bytes")


def _next(answer: http.client.HTTPResponse, done: int) -> bytes:
    try:
        return answer.read(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(f"broke off after {done} bytes, {_reason(error)}") from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__


def take(source: Path, path: Path, accept_other: bool = False) -> Convolutions:
    """Copy a file given by hand to ``path``, once its content is right.  Raises InputError or StorageError."""
    found = alexnet.load(source, accept_other)
    if source.resolve() != path.resolve():
        with atomic_path(path) as part:
            shutil.copyfile(source, part)
    return found
