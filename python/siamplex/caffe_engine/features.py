"""Embeds images with the caffe binary's own feature tool: images in as an LMDB, activations out as one."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from siamplex.caffe_engine.binary import check_gpus, find_binary, gpus_of
from siamplex.caffe_engine.filled import check_tower
from siamplex.caffe_engine.log import fatal
from siamplex.engine.net.data_source import DataSource
from siamplex.errors import InputError, TrainingError, UsageError
from siamplex.run.durable import require_room
from siamplex.schema import messages, prototxt
from siamplex.schema.blobs import Array
from siamplex.schema.datum import encode
from siamplex.schema.messages import enum_value


def extract(deploy: Path, weights: Path, images: Array, blob: str, batch: int, device: str) -> Array:
    """Blob ``blob`` (N, D) float32 of ``images`` (N, C, H, W) under ``deploy`` with ``weights``.

    Raises InputError without a fitting binary or for a deploy net that has not one input,
    TrainingError with Caffe's own words where it fails.
    """
    gpus = gpus_of(device)
    if len(gpus) > 1 or gpus == ["all"]:
        raise UsageError("--device: expected one GPU to extract with, found several")
    check_tower(deploy, weights)
    binary = find_binary()
    tool = binary.feature_tool
    check_gpus(binary, gpus)
    require_room(Path(tempfile.gettempdir()), 2 * images.nbytes, "images as Caffe's tool reads them")
    with tempfile.TemporaryDirectory(prefix="siamplex_") as folder:
        top = Path(folder)
        _write_images(top / "images_lmdb", images)
        prototxt.write(top / "net.prototxt", _with_data(deploy, top / "images_lmdb", batch))
        batches = -(-len(images) // batch)
        arguments = [
            str(tool), str(weights.resolve()), str(top / "net.prototxt"), blob, str(top / "features_lmdb"),
            str(batches), "lmdb", *(("GPU", gpus[0]) if gpus else ("CPU",)),
        ]  # fmt: skip
        done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            lines = (done.stdout + done.stderr).splitlines()
            what = fatal(lines) or (lines[-1] if lines else "no word")
            raise TrainingError(f"{weights}: expected {tool.name} to read it, found exit {done.returncode}: {what}")
        values, _ = DataSource(top / "features_lmdb").uniform_batch(batches * batch)
        return np.ascontiguousarray(values[: len(images)].reshape(len(images), -1), np.float32)


def _write_images(folder: Path, images: Array) -> None:
    room = 2 * images.nbytes + (1 << 24)
    with lmdb.open(str(folder), map_size=room, sync=False) as env:
        for start in range(0, len(images), 64):
            with env.begin(write=True) as txn:
                for i, image in enumerate(images[start : start + 64], start):
                    txn.put(b"%010d" % i, encode(np.asarray(image, np.float32), 0), append=True)


def _with_data(deploy: Path, source: Path, batch: int) -> Any:
    """The deploy net with a Data layer in place of its input."""
    net = messages.NetParameter()
    net.CopyFrom(prototxt.read(deploy, "NetParameter").message)
    inputs = [i for i, layer in enumerate(net.layer) if layer.type == "Input"]
    tops = [top for i in inputs for top in net.layer[i].top] + list(net.input)
    if len(tops) != 1:
        raise InputError(deploy, "one input", f"{len(tops)}")
    data = messages.LayerParameter(name=tops[0], type="Data", top=[tops[0], "siamplex_label"])
    data.data_param.source, data.data_param.batch_size = str(source), batch
    data.data_param.backend = enum_value("Backend", "LMDB")
    layers = [layer for i, layer in enumerate(net.layer) if i not in inputs]
    for field in ("input", "input_shape", "input_dim", "layer"):
        net.ClearField(field)
    net.layer.extend([data, *layers])
    return net
