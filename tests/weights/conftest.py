"""Files that hold AlexNet's convolutions, real (../shared) or made up, in all formats."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import ROOT
from tests.onnx_bytes import conv, model, tensor

from siamplex.schema import messages
from siamplex.schema.blobs import Array
from siamplex.schema.weights import write_caffemodel
from siamplex.weights import fingerprint
from siamplex.weights.convolution_files import SHAPES

SHARED = ROOT.parent / "shared" / "alexnet" / "conv1-3.npz"
Arrays = dict[str, list[Array]]


@pytest.fixture(scope="session")
def shared() -> Path:
    """AlexNet's convolutions; skips where a clone stands alone."""
    if not SHARED.is_file():
        pytest.skip("no ../shared/alexnet beside this clone")
    return SHARED


@pytest.fixture(scope="session")
def made_up() -> Arrays:
    """Random convolutions of AlexNet's shapes, and of its deviations."""
    stream = np.random.default_rng(0)
    made = {}
    for (name, shape), deviation in zip(SHAPES.items(), (0.0586, 0.0253, 0.0169), strict=True):
        weights = stream.normal(0, deviation, shape).astype(np.float32)
        made[name] = [weights, stream.normal(0, 0.1, shape[0]).astype(np.float32)]
    return made


@pytest.fixture
def passing(made_up: Arrays, monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """The made-up ones, passing for AlexNet's by fingerprint; float16 as well."""

    def digest(conv1: Array) -> str:
        return hashlib.sha256(np.rint(conv1 * 128).astype(np.int8).tobytes()).hexdigest()

    conv1 = made_up["conv1"][0]
    half = conv1.astype(np.float16).astype(np.float32)
    monkeypatch.setattr(fingerprint, "_CONV1", {digest(conv1), digest(half)})
    return made_up


def as_caffemodel(path: Path, arrays: Arrays) -> Path:
    write_caffemodel(path, "AlexNet", [(messages.LayerParameter(name=n), a) for n, a in arrays.items()])
    return path


def as_npz(path: Path, arrays: Arrays, save: Callable[..., None] = np.savez) -> Path:
    with path.open("wb") as handle:  # a name of any ending
        save(handle, **{f"{n}_{x}": a for n, both in arrays.items() for x, a in zip("wb", both, strict=True)})
    return path


def as_onnx(path: Path, arrays: Arrays, weight: str = "{}_w_0", bias: str = "{}_b_0", nodes: bool = True) -> Path:
    """As the model zoo's, further layers (conv4 and conv5 with biases of the same shapes) included."""
    more = {
        "conv4": [np.zeros((384, 192, 3, 3), np.float32), np.zeros(384, np.float32)],
        "conv5": [np.zeros((256, 192, 3, 3), np.float32), np.zeros(256, np.float32)],
    }
    tensors, convolutions = [], []
    for name, (w, b) in (more | arrays).items():
        tensors += [tensor(weight.format(name), w), tensor(bias.format(name), b)]
        convolutions.append(conv(weight.format(name), bias.format(name)))
    path.write_bytes(model(tensors, convolutions if nodes else []))
    return path
