"""``convert_imageset``: converts a list of image files into an LMDB of Datums."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.corpus.images import MAX_BYTES
from siamplex.dropin.gflags import CommandLine, Value, parse
from siamplex.dropin.glog import info
from siamplex.dropin.new_database import check_backend, check_new, new_lmdb
from siamplex.errors import InputError, UsageError
from siamplex.schema import messages
from siamplex.schema.picture_files import PictureError, decode

NAME = "convert_imageset"
USAGE = "convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE DB_NAME"
FLAGS: dict[str, Value] = {
    "gray": False, "shuffle": False, "backend": "lmdb", "resize_width": 0, "resize_height": 0, "check_size": False,
    "encoded": False, "encode_type": "",
}  # fmt: skip
_EVERY = 1000
Pixels = npt.NDArray[np.uint8]


def run(arguments: Sequence[str]) -> None:
    """Convert.  Raises UsageError, InputError or StorageError.

    As BVLC's tool: a line is a path, put behind ROOTFOLDER as it stands, and a label behind the last space (0 where it
    is no number); an image that cannot be read is said and left out; keys are the line's number in eight digits, "_"
    and the path.  Unlike it, ``-check_size`` goes by the pixels of encoded images too, and a list of which no image can
    be read leaves no database.
    """
    line = parse(NAME, arguments, FLAGS)
    if len(line.words) != 3:
        raise UsageError(f"{NAME}: expected ROOTFOLDER/ LISTFILE DB_NAME, found {len(line.words)} (usage: {USAGE})")
    root, listing, target = line.words[0], Path(line.words[1]), Path(line.words[2])
    check_backend(NAME, line.text("backend"))
    check_new(target)
    lines = list(_lines(listing))
    if line.on("shuffle"):
        info("Shuffling data", NAME)
        random.SystemRandom().shuffle(lines)
    info(f"A total of {len(lines)} images.", NAME)
    if line.text("encode_type") and not line.on("encoded"):
        info("encode_type specified, assuming encoded=true.", NAME)
    written, lost = 0, 0
    first: tuple[int, ...] | None = None
    with new_lmdb(target) as put:
        for number, (name, label) in enumerate(lines):
            found = _datum(Path(root + name), name, label, line)
            if found is None:
                lost += 1
                continue
            datum, shape = found
            first = first or shape
            if line.on("check_size") and np.prod(shape) != np.prod(first):
                raise InputError(root + name, f"a picture of {_sizes(first)} (-check_size)", _sizes(shape))
            put(b"%08d_" % number + os.fsencode(name), datum)
            written += 1
            if written % _EVERY == 0:
                info(f"Processed {written} files.", NAME)
        if not written:
            raise InputError(listing, "images that can be read", _why_none(root, lines))
    if written % _EVERY:
        info(f"Processed {written} files.", NAME)
    if lost:
        info(f"{lost} of {len(lines)} could not be read and are left out.", NAME)


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    """Path and label of each line of a list."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as handle:
            for number, text in enumerate(handle, 1):
                text = text.rstrip("\n")
                if "\0" in text:
                    raise InputError(path, "a list of paths and labels", f"a zero byte in line {number}")
                name, space, label = text.rpartition(" ")
                digits = re.match(r"\s*[+-]?\d{1,12}", label)
                value = int(digits.group()) if digits else 0
                if not -(2**31) <= value < 2**31:
                    raise InputError(path, "labels below 2^31", f"{label.strip():.40} in line {number}")
                if not digits and text.strip():
                    info(f"line {number} of {path} has no label: 0", NAME)
                yield (name if space else text), value
    except OSError as error:
        raise InputError(path, "a list of image files and labels", error.strerror or str(error)) from None


def _datum(path: Path, name: str, label: int, line: CommandLine) -> tuple[bytes, tuple[int, ...]] | None:
    """A Datum's bytes and its picture's (H, W, C); None, and a word, for a file that is no readable image."""
    try:
        if not 0 < path.stat().st_size <= MAX_BYTES:
            raise PictureError(f"an image of {path.stat().st_size} bytes")
        data = path.read_bytes()
        picture = np.asarray(decode(data, "gray" if line.on("gray") else "color"), np.uint8)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        info(f"Could not open or find file {path}: {reason}", NAME)
        return None
    width, height = line.number("resize_width"), line.number("resize_height")
    if width and height:
        picture = np.asarray(cv2.resize(picture, (width, height)), np.uint8)
    picture = picture if picture.ndim == 3 else picture[:, :, None]
    encoding = line.text("encode_type")
    if line.on("encoded") and not encoding:
        encoding = name.rpartition(".")[2].lower()
    datum = messages.Datum(label=label)
    if not encoding:
        rows, columns, channels = picture.shape
        datum.channels, datum.height, datum.width = channels, rows, columns
        datum.data, datum.encoded = picture.transpose(2, 0, 1).tobytes(), False
    else:
        as_it_is = not width and not height and _is_of(name, encoding)
        datum.data, datum.encoded = data if as_it_is else _encoded(picture, encoding, path), True
    return bytes(datum.SerializeToString()), picture.shape


def _is_of(name: str, encoding: str) -> bool:
    """Whether a file's suffix says that it has this encoding."""
    suffix = name.rpartition(".")[2].lower()
    return suffix == encoding.lower() or (suffix, encoding.lower()) == ("jpeg", "jpg")


def _encoded(picture: Pixels, encoding: str, path: Path) -> bytes:
    try:
        done, data = cv2.imencode(f".{encoding}", picture)
    except cv2.error:
        done = False
    if not done:
        raise UsageError(f"{NAME}: OpenCV does not encode as '{encoding}' (-encode_type=png does; {path})")
    return bytes(data)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _why_none(root: str, lines: Sequence[tuple[str, int]]) -> str:
    if not lines:
        return "an empty list"
    name = lines[0][0]
    if not root.endswith("/") and (Path(root) / name).exists():
        return f"none: {root}{name} is not there, {Path(root) / name} is; end ROOTFOLDER with '/'"
    return f"none of {len(lines)}: {root}{name} cannot be read"
