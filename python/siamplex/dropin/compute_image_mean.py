"""``compute_image_mean``: the mean of a database's images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from siamplex.dropin.gflags import parse
from siamplex.dropin.glog import info, number
from siamplex.errors import InputError, UsageError
from siamplex.run.durable import atomic_file
from siamplex.schema import messages
from siamplex.schema.datum import DatumError, decode, is_encoded
from siamplex.schema.record_stores import BACKENDS, open_store

NAME = "compute_image_mean"
USAGE = "compute_image_mean [FLAGS] INPUT_DB [OUTPUT_FILE]"
FLAGS = {"backend": "lmdb"}
_EVERY = 10000


def run(arguments: Sequence[str]) -> None:
    """Sum float32 values record by record as BVLC's tool does, so that its bits come out.

    Writes a BlobProto of (1, C, H, W) to OUTPUT_FILE where one is given, and logs the mean of each channel.
    Raises UsageError, InputError or StorageError.
    """
    line = parse(NAME, arguments, FLAGS)
    if not 1 <= len(line.words) <= 2:
        raise UsageError(f"{NAME}: expected INPUT_DB [OUTPUT_FILE], found {len(line.words)} (usage: {USAGE})")
    backend = line.text("backend").upper()
    if backend not in BACKENDS:
        raise UsageError(f"{NAME}: unknown database backend '{line.text('backend')}' (known: lmdb, leveldb)")
    folder = Path(line.words[0])
    store = open_store(folder, backend)
    total: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None
    count = 0
    for record in store.records():
        data = bytes(record)
        try:
            values, _ = decode(data)
        except DatumError as error:
            raise InputError(f"{folder} record {count}", "a Datum", str(error)) from None
        if total is None:
            if is_encoded(data):
                info("Decoding Datum", NAME)
            total = np.zeros(values.shape, np.float32)
            info("Starting iteration", NAME)
        if values.size != total.size:
            raise InputError(f"{folder} record {count}", f"{total.size} values as in the first", str(values.size))
        total += values.reshape(total.shape)
        count += 1
        if count % _EVERY == 0:
            info(f"Processed {count} files.", NAME)
    if total is None:
        raise InputError(folder, "a database with records", "none")
    if count % _EVERY:
        info(f"Processed {count} files.", NAME)
    mean = total / np.float32(count)
    channels, height, width = mean.shape
    if len(line.words) == 2:
        info(f"Write to {line.words[1]}", NAME)
        blob = messages.BlobProto(num=1, channels=channels, height=height, width=width)
        blob.data.extend(mean.ravel().tolist())
        with atomic_file(line.words[1]) as handle:
            handle.write(blob.SerializeToString())
    info(f"Number of channels: {channels}", NAME)
    for channel in range(channels):
        summed = np.cumsum(mean[channel].ravel(), dtype=np.float32)  # one after the other, as the tool adds them
        value = float(summed[-1] / np.float32(height * width)) if summed.size else 0.0
        info(f"mean_value channel [{channel}]: {number(value)}", NAME)
