"""Running every image of a pair store through a tower: what `siamplex extract` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding
from siamplex.pairs.build import OpenedStore
from siamplex.run.durable import sha256
from siamplex.schema.blobs import Array

if TYPE_CHECKING:  # torch is loaded only where a net runs
    from siamplex.engine.net.net import Net


def open_tower(store: OpenedStore, folder: Path, deploy: Path, weights: Path, device: str) -> tuple[Net, Array]:
    """The tower of ``deploy`` with ``weights``, and the images (N, 3, size, size) it was trained on.

    Images come from the store's table (or are read again from their files when pairs are
    stacked), so that they are the very ones trained on.  Raises InputError or PrototxtError.
    """
    from siamplex.engine.net.net import Net
    from siamplex.engine.net.net_kinds import check_deploy
    from siamplex.engine.training.device import choose_device
    from siamplex.pairs.images import stored_images
    from siamplex.schema import prototxt
    from siamplex.schema.weights import read_caffemodel

    source = prototxt.read(deploy, "NetParameter")
    check_deploy(source)
    net = Net(source, "TEST", device=choose_device(device))
    if len(net.inputs) != 1:
        raise InputError(deploy, "one input", f"{len(net.inputs)}")
    net.load(read_caffemodel(weights), weights)
    found = net.unfilled(learning=False)
    if found:
        raise net.refuse_unfilled(found, [weights], option="")
    images = stored_images(store, folder)
    expected = net.shapes[net.inputs[0]][1:]
    if images.shape[1:] != expected:
        raise InputError(deploy, f"an input of {images.shape[1:]} as in {folder}", f"{expected}")
    return net, images


def embed(
    store: OpenedStore,
    folder: Path,
    deploy: Path,
    weights: Path,
    blob: str,
    batch: int,
    device: str,
    engine: str = "torch",
) -> Embedding:
    """Run every image of a pair store through ``deploy`` with ``weights``; take the blob ``blob``.

    Raises InputError or PrototxtError.
    """
    from siamplex.engine.training.snapshot import check_own, iteration_of, note_of

    check_own(weights)
    points = (_by_caffe if engine == "caffe" else _by_torch)(store, folder, deploy, weights, blob, batch, device)
    entries = store.index.entries
    notes = [note_of(weights) or f"the origin of {weights.name} is not recorded"]
    if store.index.synthetic:
        notes.append("faces are synthetic (drawn by siamplex)")
    return Embedding(
        points,
        [e.image for e in entries],
        [e.subject for e in entries],
        [e.emotion for e in entries],
        [store.split[e.subject] for e in entries],
        {
            "weights": weights.name,
            "iteration": iteration_of(weights),
            "sha256": sha256(weights),
            "blob": blob,
            "engine": engine,
            "notes": notes,
        },
    )


def _by_torch(
    store: OpenedStore, folder: Path, deploy: Path, weights: Path, blob: str, batch: int, device: str
) -> npt.NDArray[np.float32]:
    """Activations (N, D) by the embedded engine."""
    import torch

    from siamplex.engine.net.layer import Context
    from siamplex.run.progress import Progress

    net, images = open_tower(store, folder, deploy, weights, device)
    rows = []
    progress = Progress(f"embed {weights.name}", len(images))
    with torch.no_grad():
        for start in range(0, len(images), batch):
            chunk = np.array(images[start : start + batch], np.float32)
            given = {net.inputs[0]: torch.from_numpy(chunk)}
            values = net.forward(Context(train=False), given, until=blob)[1][blob]
            rows.append(values.reshape(len(chunk), -1).cpu().numpy())
            progress.step(len(chunk))
    progress.close()
    return np.concatenate(rows)


def _by_caffe(
    store: OpenedStore, folder: Path, deploy: Path, weights: Path, blob: str, batch: int, device: str
) -> npt.NDArray[np.float32]:
    """Activations (N, D) by the caffe binary's own tool."""
    from siamplex.caffe_engine.features import extract
    from siamplex.pairs.images import stored_images

    return extract(deploy, weights, stored_images(store, folder), blob, batch, device)
