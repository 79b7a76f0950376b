"""AlexNet's first three convolutions: reads them from a file, and recognises their origin.

Only a file's content counts: the published bvlc_alexnet.caffemodel, the ONNX model zoo's conversions of it, or any file
whose conv1-3 have AlexNet's fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siamplex.errors import InputError
from siamplex.run.durable import remember_sha256
from siamplex.schema.blobs import Array
from siamplex.weights.convolution_files import WHAT, read_convolutions
from siamplex.weights.fingerprint import fingerprint

NAME = "bvlc_alexnet.caffemodel"
SHA1 = "9116a64c0fbe4459d18f4bb6b56d647b63920377"
# the ONNX model zoo's conversions, by SHA-256; the number is ONNX's opset
CONVERSIONS = {
    "6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945": "bvlcalexnet-12.onnx",
    "ef3c82dad5c512f969dbf701fe35c0b3feb1585687d541f765eb68730c0a8af7": "bvlcalexnet-9.onnx",
    "9a4dc22fd706a19462aaec3b08e027e0ef89daf63d123824f20b59b6de9a727b": "bvlcalexnet-8.onnx",
    "d9c9134b90c760d4231e89ad9758bcc8a9397c3ba1cd56fadbef888b534ac6b4": "bvlcalexnet-7.onnx",
    "f1ae53b93d83dd74731c84337ae64035288ce336794a46e2b17b56e7566feaab": "bvlcalexnet-6.onnx",
    "e9e222ef55ba873b219f22987130fb0567cb7bc7d3f1afeb47ff442bc0e11b6d": "bvlcalexnet-3.onnx",
}
MAX_BYTES = 1 << 30  # beyond which a file is not looked at
ACCEPT = "--accept-other-weights"  # the option that takes weights that are not AlexNet's
OTHER = "conv1-3 start from other weights than AlexNet's"  # how the note of such weights begins

PUBLISHED, CONVERTED, RECOGNISED, FOREIGN = "published", "conversion", "fingerprint", "other"


@dataclass(frozen=True)
class Convolutions:
    """conv1-3 of a file, and their origin.

    ``arrays`` has of each layer weights (BGR; conv2 in two groups) and biases, float32.  ``kind`` is how they were
    recognised: ``published``, ``conversion``, ``fingerprint``, or ``other`` for weights that are not AlexNet's.
    ``words`` names them, ``facts`` is the same for a JSON.
    """

    arrays: Mapping[str, list[Array]]
    kind: str
    words: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What outputs say of a run that starts from them."""
        return f"{OTHER} ({self.words})" if self.kind == FOREIGN else f"conv1-3 start from {self.words}"


_loaded: dict[tuple[str, int, int], Convolutions] = {}


def load(path: Path, accept_other: bool = False) -> Convolutions:
    """Read conv1-3 and recognise their origin.  Raises InputError if they are not AlexNet's, unless accepted.

    A file is read and hashed once a process, however often it is asked for.
    """
    key = _state(path)
    if key not in _loaded:
        _loaded[key] = _identify(path)
    found = _loaded[key]
    if found.kind == FOREIGN and not accept_other:
        raise InputError(path, f"AlexNet's conv1-3 ({ACCEPT} takes others)", f"other weights, {found.words}")
    return found


def _state(path: Path) -> tuple[str, int, int]:
    try:
        stat = path.stat()
        if not path.is_file():
            raise InputError(path, WHAT, "a folder" if path.is_dir() else "no file")
    except OSError as error:
        raise InputError(path, f"AlexNet's weights: {WHAT}", error.strerror or str(error)) from None
    if stat.st_size > MAX_BYTES:
        raise InputError(path, f"{WHAT} of at most {MAX_BYTES} bytes", f"{stat.st_size} bytes")
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def _identify(path: Path) -> Convolutions:
    arrays = read_convolutions(path)
    sha1, sha256 = _hashes(path)
    known = fingerprint(arrays)
    facts: dict[str, Any] = {"sha256": sha256}
    if known:
        facts |= {"precision": dict(known.precision), "channels": known.channels}
    turned = ""
    if known and known.channels == "RGB":
        arrays = arrays | {"conv1": [arrays["conv1"][0][:, ::-1].copy(), arrays["conv1"][1]]}
        turned = "; kernels given in RGB order, turned into BGR"
    if sha1 == SHA1:
        kind, words = PUBLISHED, f"AlexNet's {NAME} (SHA-1 {SHA1})"
    elif sha256 in CONVERSIONS:
        kind, words = CONVERTED, f"AlexNet's {NAME} as {CONVERSIONS[sha256]} (SHA-256 {sha256[:16]}...{turned})"
    elif known:
        kind, words = RECOGNISED, f"AlexNet's by fingerprint ({known.words}{turned})"
    else:
        kind, words = FOREIGN, f"SHA-256 {sha256[:16]}..., without AlexNet's fingerprint"
    return Convolutions(arrays, kind, words, {"kind": kind, **facts})


def _hashes(path: Path) -> tuple[str, str]:
    """SHA-1 and SHA-256 of a file, in one reading."""
    sha1, sha256 = hashlib.sha1(), hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(1 << 22):
                sha1.update(chunk)
                sha256.update(chunk)
    except OSError as error:
        raise InputError(path, WHAT, error.strerror or str(error)) from None
    remember_sha256(path, sha256.hexdigest())
    return sha1.hexdigest(), sha256.hexdigest()
