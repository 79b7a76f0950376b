"""Datum: one stored sample, bytes or floats of shape (C, H, W) with an integer label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from siamplex.schema import messages
from siamplex.schema.picture_files import PictureError
from siamplex.schema.picture_files import decode as decode_picture
from siamplex.schema.wire import WireError, fields

_DATA, _LABEL, _FLOATS, _ENCODED = 4, 5, 6, 7  # field numbers
MAX_VALUES = 1 << 28  # values one sample may claim


class DatumError(ValueError):
    """A record that is not a whole Datum."""


def decode(record: bytes, mode: str = "native") -> tuple[npt.NDArray[Any], int]:
    """Values (C, H, W), uint8 or float32, and label of a stored Datum.  Raises DatumError.

    An encoded Datum (JPEG, PNG) has the channels it is stored with, 1, 3 (BGR) or 4 (BGRA), and is not turned by
    EXIF: DecodeDatumToCVMatNative.  ``color`` decodes it to BGR, ``gray`` to one channel: transform_param's
    force_color and force_gray; with ``both`` only a Datum that is not encoded is read.  More than 8 bits a
    channel are refused.  All as Caffe's DataTransformer has it.
    """
    datum = messages.Datum()
    try:
        datum.ParseFromString(record)
    except DecodeError:
        raise DatumError("not a Datum") from None
    if datum.encoded:
        if mode == "both":
            raise DatumError("an encoded image, to be decoded with force_color and force_gray at once")
        try:
            image = decode_picture(datum.data, mode)
        except PictureError as error:
            raise DatumError(f"an encoded image, found {error}") from None
        if image.dtype != np.uint8:
            raise DatumError(f"an encoded image of 8 bits a channel, found {image.dtype}")
        if image.ndim == 2:
            image = image[:, :, None]
        return np.ascontiguousarray(image.transpose(2, 0, 1)), int(datum.label)
    shape = (datum.channels, datum.height, datum.width)
    count = shape[0] * shape[1] * shape[2]
    if min(shape) < 0 or count > MAX_VALUES:
        raise DatumError(f"a Datum of shape {shape}")
    if datum.data:
        values: npt.NDArray[Any] = np.frombuffer(datum.data, np.uint8)
    else:
        values = np.array(datum.float_data, np.float32)
    if values.size != count:
        raise DatumError(f"a Datum of shape {shape} with {values.size} values")
    return values.reshape(shape), int(datum.label)


def is_encoded(record: bytes) -> bool:
    """Whether a stored Datum holds an encoded image; False for what is no Datum."""
    datum = messages.Datum()
    try:
        datum.ParseFromString(record)
    except DecodeError:
        return False
    return bool(datum.encoded)


def shape_of(record: bytes, mode: str = "native") -> tuple[int, ...] | None:
    """(C, H, W) of a stored Datum, decoded as :func:`decode` does; None for what is no Datum or does not decode."""
    datum = messages.Datum()
    try:
        datum.ParseFromString(record)
        if datum.encoded:
            return decode(record, mode)[0].shape
    except (DecodeError, DatumError):
        return None
    return (datum.channels, datum.height, datum.width)


def decode_uniform(records: Sequence[bytes]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]] | None:
    """Values (N, C, H, W) and labels (N,) of records laid out alike but for their values, all at once.

    None where their layouts differ, or are not plain: use :func:`decode` on each record then.
    """
    try:
        sample, _ = decode(records[0])
        spans = list(fields(memoryview(records[0]), 0, len(records[0])))
    except (DatumError, WireError):
        return None
    labels = [f for f in spans if f.number == _LABEL]
    values = [f for f in spans if f.number in (_DATA, _FLOATS)]
    size = sum(f.end - f.start for f in values)
    plain = (
        len({f.kind for f in values}) == 1 and size == sample.nbytes and not any(f.number == _ENCODED for f in spans)
    )
    if not plain or len(labels) != 1 or labels[0].end - labels[0].start != 1:
        return None
    length = len(records[0])
    if any(len(record) != length for record in records):
        return None
    table = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), length)
    of_values = np.concatenate([np.arange(f.start, f.end) for f in values])
    of_layout = np.setdiff1d(np.arange(length), [*of_values, labels[0].start])
    label = table[:, labels[0].start]
    if (table[:, of_layout] != table[0, of_layout]).any() or (label > 0x7F).any():
        return None
    found = np.ascontiguousarray(table[:, of_values]).view(sample.dtype.newbyteorder("<"))
    return found.reshape(len(records), *sample.shape), label.astype(np.float32)


def encode(values: npt.NDArray[Any], label: int) -> bytes:
    """A Datum holding ``values`` (C, H, W), uint8 as bytes and anything else as floats."""
    channels, height, width = values.shape
    datum = messages.Datum(channels=channels, height=height, width=width, label=label)
    if values.dtype == np.uint8:
        datum.data = values.tobytes()
    else:
        datum.float_data.extend(values.astype(np.float32).ravel().tolist())
    return bytes(datum.SerializeToString())
