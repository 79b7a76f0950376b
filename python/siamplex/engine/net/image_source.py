"""Reading the pictures of a list in order; the reader wraps around at the end."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.corpus.images import read_picture
from siamplex.engine.net.feeding import Orders
from siamplex.errors import InputError
from siamplex.randomness import numpy_stream
from siamplex.schema.file_lists import read_lines

LIST = "a text file of pictures and labels"
_SPREAD = 64  # pictures that a fingerprint is made of
_AHEAD = 1 << 20  # bytes of a batch from which the next one is read while this one is computed
_WHOLE = re.compile(r"[+-]?[0-9]+")
_BEGINNING = re.compile(r"[\t-\r]*([+-]?)(0*)([0-9]*)(\.[0-9])?")  # of a label, as C's atoi reads it

Sample = npt.NDArray[np.uint8]  # (C, H, W), BGR or grey
Batch = tuple[list[Sample], npt.NDArray[np.float32], list[int]]


@dataclass(frozen=True)
class Listed:
    """One line of a list: the picture's file, its label, and the line's place (``list.txt:3``)."""

    path: Path
    label: int
    where: str


def read_label(text: str) -> int | None:
    """The number that C's atoi, and so Caffe, reads in a label: "1.5" is 1, "-0.2" and ".5" are 0, "7abc" is 7.

    None where atoi would make up a number: for a label that begins with none ("three", "") it is 0, beyond 32 bits it
    is undefined.  None as well for digits that are not ASCII, which atoi does not read.
    """
    found = _BEGINNING.match(text)
    assert found  # each part of it may be empty
    sign, zeros, digits, decimal = found.groups()
    foreign = any(c.isdigit() and not c.isascii() for c in text)
    if foreign or not (zeros or digits or decimal) or len(digits) > 10:
        return None
    value = int(sign + (digits or "0"))
    return value if -(2**31) <= value < 2**31 else None


def read_list(
    path: Path, find: Callable[[str], Path], missing: Callable[[str], str], note: Callable[[str], None]
) -> list[Listed]:
    """The pictures of a list with one ``PATH LABEL`` a line; the last space separates them, so paths may have spaces.

    ``find`` returns the file of a listed path, ``missing`` the error text for a missing file.  Raises InputError,
    naming the line, for a missing file (the whole list is checked first, where Caffe finds it when it reads it) and for
    a label without a number (:func:`read_label`), which Caffe reads as 0.  ``note`` is called at most once, where
    labels are not whole numbers but Caffe reads one.
    """
    found = []
    first, count = "", 0  # of the labels that are not whole numbers
    for number, line in enumerate(read_lines(path, LIST), 1):
        where = f"{path}:{number}"
        name, space, label = line.rpartition(" ")
        if not space or not name:
            raise InputError(
                where, "a path, a space and a label", f"'{line:.120}'" if line.strip() else "an empty line"
            )
        value = read_label(label)
        if value is None:
            ending = " (it ends in a space)" if not label else ""
            raise InputError(where, "a number of 32 bits as label behind the last space", f"'{label:.40}'{ending}")
        if not _WHOLE.fullmatch(label):
            first = first or f"{where}: label '{label:.40}' is read as {value}, as in Caffe"
            count += 1
        try:
            file = find(name)
        except InputError as error:
            raise InputError(where, error.expected, error.found) from None
        if not file.is_file():
            raise InputError(where, "a picture", f"no file '{name}'" if file.exists() else f"'{name}': {missing(name)}")
        found.append(Listed(file, value, where))
    if first:
        note(f"{first}; {count} {'line has such a label' if count == 1 else 'lines have such labels'}")
    return found


class ImageSource:
    """Batches of pictures in the order of their list; it wraps around at the end.

    Pictures are resized to ``size`` (height, width), bilinearly as OpenCV does; None keeps their size.
    ``color`` gives (3, H, W) BGR, else (1, H, W) grey.  ``shuffle`` draws the order anew for each pass.  ``rand_skip``
    skips a random number of pictures below it in the first pass.  ``position`` counts all pictures returned.
    If batches are large, a second thread reads the next one ahead.
    """

    def __init__(
        self, listed: Sequence[Listed], size: tuple[int, int] | None, color: bool, shuffle: bool, rand_skip: int,
        key: str,
    ) -> None:  # fmt: skip
        self._listed, self._size, self._mode = list(listed), size, "color" if color else "gray"
        self._skip, self._key = rand_skip, key
        self._orders = Orders(shuffle, key)
        self.entries = len(self._listed)
        self.position = 0
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: tuple[tuple[int, int], Future[Batch]] | None = (
            None  # size and seed of the batch being read, and it
        )

    def sample(self, number: int) -> Sample:
        """Picture ``number`` of the list: (C, H, W) bytes.  Raises InputError, naming its line."""
        one = self._listed[number]
        try:
            picture = read_picture(one.path, self._mode)
        except InputError as error:
            raise InputError(one.where, error.expected, f"{one.path}: {error.found}") from None
        if self._size:
            picture = np.asarray(cv2.resize(picture, self._size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        return np.ascontiguousarray(picture.transpose(2, 0, 1) if picture.ndim == 3 else picture[None])

    def where(self, number: int) -> str:
        """Where a picture is listed."""
        return self._listed[number].where

    def seek(self, position: int) -> None:
        """Let the next batch start at ``position``, counted over all passes."""
        if self._ahead:
            self._ahead[1].exception()  # waits
            self._ahead = None
        self.position = position

    def batch(self, size: int, seed: int) -> Batch:
        """The next ``size`` pictures, their labels (size,) float32 and their numbers in the list."""
        if self._ahead and self._ahead[0] != (size, seed):
            self.seek(self.position)
        batch = self._ahead[1].result() if self._ahead else self._read(self.position, size, seed)
        self._ahead = None
        self.position += size
        if sum(sample.nbytes for sample in batch[0]) >= _AHEAD:
            self._reader = self._reader or ThreadPoolExecutor(1, "reader")
            self._ahead = (size, seed), self._reader.submit(self._read, self.position, size, seed)
        return batch

    def _read(self, position: int, size: int, seed: int) -> Batch:
        skip = int(numpy_stream(seed, "rand_skip", self._key).integers(self._skip)) if self._skip else 0
        numbers = []
        for at in range(skip + position, skip + position + size):
            turn, within = divmod(at, self.entries)
            numbers.append(int(self._orders.of(seed, self.entries, turn)[within]))
        labels = np.array([self._listed[number].label for number in numbers], np.float32)
        return [self.sample(number) for number in numbers], labels, numbers

    def fingerprint(self) -> str:
        """A hash of all labels and of picture files spread over the list; paths do not enter."""
        digest = hashlib.sha256(str([one.label for one in self._listed]).encode())
        for one in self._listed[:: max(1, self.entries // _SPREAD)]:
            try:
                digest.update(hashlib.sha256(one.path.read_bytes()).digest())
            except OSError as error:
                raise InputError(one.where, "a readable image", f"{one.path}: {error.strerror}") from None
        return digest.hexdigest()
