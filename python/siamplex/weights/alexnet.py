"""bvlc_alexnet.caffemodel: found, verified, its first three convolutions read."""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from siamplex.durable import atomic_path
from siamplex.errors import InputError, StorageError
from siamplex.progress import Progress
from siamplex.schema.blobs import Array
from siamplex.schema.weights import read_caffemodel

SHA1 = "9116a64c0fbe4459d18f4bb6b56d647b63920377"
URL = "http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel"
SHAPES = {"conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3)}
_MAX_BYTES = 400 << 20


def verify(path: Path) -> None:
    """Raise InputError unless ``path`` is the published bvlc_alexnet.caffemodel, by its SHA-1."""
    digest = hashlib.sha1()
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(path, "bvlc_alexnet.caffemodel", error.strerror or str(error)) from None
    if digest.hexdigest() != SHA1:
        raise InputError(path, f"bvlc_alexnet.caffemodel with SHA-1 {SHA1}", digest.hexdigest())


def fetch(path: Path, url: str = URL) -> None:
    """Download to ``path``; the file takes its name only once its SHA-1 is right.

    Raises StorageError when the network or the disk fails, InputError for other content.
    """
    with atomic_path(path) as part:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as handle:
                total = int(answer.headers.get("Content-Length") or 0)
                progress = Progress(f"fetch {path.name}", total)
                while chunk := answer.read(1 << 20):
                    handle.write(chunk)
                    progress.step(len(chunk))
                    if progress.done > _MAX_BYTES:
                        raise InputError(url, f"at most {_MAX_BYTES} bytes", "more")
                progress.close()
        except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise StorageError(f"{url}: expected to download it, found: {reason}") from None
        verify(part)


def take(source: Path, path: Path) -> None:
    """Copy a file given by hand to ``path``, once verified.  Raises InputError."""
    verify(source)
    if source.resolve() != path.resolve():
        with atomic_path(path) as part:
            shutil.copyfile(source, part)


def convolutions(path: Path) -> dict[str, list[Array]]:
    """Weights and biases of conv1, conv2 (grouped: 256x48x5x5) and conv3.  Raises InputError."""
    verify(path)
    layers = read_caffemodel(path)
    return {name: [layers[name][0].reshape(shape), layers[name][1].reshape(shape[0])] for name, shape in SHAPES.items()}
