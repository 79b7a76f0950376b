"""Matching the pictures named in a table to the images of an embedding."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from siamplex.corpus.index import CorpusIndex, read_index
from siamplex.errors import InputError
from siamplex.geometry.embedding import Embedding
from siamplex.run.record import run_of

_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,4}$")  # of a picture's file; not the last part of JAFFE's KA.AN1.39
_UP = re.compile(r"^(?:\.\./)+")
_NAMED = 5


@dataclass(frozen=True)
class Matching:
    """``places``: for each picture its image's index, or None; ``unmatched``: pictures without one, with the reason."""

    places: list[int | None]
    unmatched: list[tuple[str, str]]


def index_of(embedding: Embedding, file: Path, pairs: Path | None = None) -> tuple[CorpusIndex, Path] | None:
    """The index of an embedding's images, and the folder its paths are relative to.

    From a pair store, or from that of the run that the embedding's ``file`` lies in.  None where there is none, or
    where it is that of other images.
    """
    run = run_of(file)
    for folder in ([pairs] if pairs else []) + ([run / "pairs"] if run else []):
        path = folder / "index.csv"
        try:
            index = read_index(path)
        except InputError:
            continue
        if [entry.image for entry in index.entries] == embedding.images:
            return index, folder
    return None


def match(
    pictures: Sequence[str], table: Path, images: Sequence[str], index: tuple[CorpusIndex, Path] | None = None
) -> Matching:
    """Match pictures, as ``table`` names them, to an embedding's ``images``.

    By path (relative to the index or to the table, or absolute) or by the image's name; else by the trailing folders;
    else by file name, with the suffix or without, if only one image has it; else by the parts with which only one
    image's file name begins (KM-NE1 is KM.NE1.1.tiff: JAFFE's ratings).  Letter case, kinds of slashes and Unicode
    forms of accents are ignored.  Raises InputError where no picture is found.
    """
    paths = _paths(images, index)
    exact: dict[str, set[int]] = {}
    tails: dict[str, set[int]] = {}
    names: dict[str, set[int]] = {}
    stems: dict[str, set[int]] = {}
    begins: dict[tuple[str, ...], set[int]] = {}
    for at, (image, path) in enumerate(zip(images, paths, strict=True)):
        whole = _plain(index[0].entries[at].path.absolute()) if index is not None else path
        for key in {_plain(image), path, whole}:
            exact.setdefault(key, set()).add(at)
        parts = [part for part in whole.split("/") if part]
        for start in range(len(parts) - 1):
            tails.setdefault("/".join(parts[start:]), set()).add(at)
        names.setdefault(_last(path), set()).add(at)
        pieces = _pieces(path)
        for end in range(2, len(pieces) + 1):
            begins.setdefault(pieces[:end], set()).add(at)
        for stem in {_SUFFIX.sub("", _last(path)), _last(_plain(image))}:
            stems.setdefault(stem, set()).add(at)
    base = _plain(table.parent.absolute())
    places: list[int | None] = []
    sure: list[bool] = []
    reasons = [""] * len(pictures)
    for number, picture in enumerate(pictures):
        key = _plain(picture)
        beside = os.path.normpath(f"{base}/{key}")
        last = _last(key)
        levels = (
            exact.get(key), exact.get(beside), tails.get(_UP.sub("", key)), exact.get(_SUFFIX.sub("", key)),
            names.get(last), stems.get(_SUFFIX.sub("", last)), stems.get(last), begins.get(_pieces(key)),
        )  # fmt: skip
        level = next((i for i, found in enumerate(levels) if found), None)
        found = levels[level] if level is not None else None
        places.append(next(iter(found)) if found and len(found) == 1 else None)
        sure.append(level is not None and level < 4)
        if places[-1] is None:
            reasons[number] = f"{len(found)} images have that name" if found else "no such image"
    _part(places, sure, reasons)
    unmatched = [(p, r) for p, place, r in zip(pictures, places, reasons, strict=True) if place is None]
    if len(unmatched) == len(pictures):
        few = ", ".join(f"'{p}' ({r})" for p, r in unmatched[:3])
        raise InputError(
            table, f"pictures of the embedding, such as '{images[0]}'", f"none of {len(pictures)}: {few}"
        )  # fmt: skip
    return Matching(places, unmatched)


def _part(places: list[int | None], sure: Sequence[bool], reasons: list[str]) -> None:
    """Leave out pictures in different folders that match one image by their file name alone."""
    claims: dict[int, list[int]] = {}
    for number, place in enumerate(places):
        if place is not None:
            claims.setdefault(place, []).append(number)
    for numbers in claims.values():
        for number in numbers:
            if len(numbers) > 1 and not sure[number]:
                places[number], reasons[number] = None, "another picture of the table has that file name"


def _paths(images: Sequence[str], index: tuple[CorpusIndex, Path] | None) -> list[str]:
    """Paths relative to the index; without one, the images' names."""
    if index is None:
        return [_plain(image) for image in images]
    entries, folder = index[0].entries, index[1].absolute()
    return [_plain(os.path.relpath(e.path.absolute(), folder)) for e in entries]


def _plain(text: str | Path) -> str:
    """A path without letter case, kind of slash and Unicode form, which vary between systems."""
    path = unicodedata.normalize("NFC", str(text).strip().replace("\\", "/")).casefold()
    return os.path.normpath(path) if path else path


def _pieces(path: str) -> tuple[str, ...]:
    """The parts of a file name between dots, dashes, underscores and blanks, its suffix left out."""
    return tuple(part for part in re.split(r"[\s._-]+", _SUFFIX.sub("", _last(path))) if part)


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def in_words(unmatched: Sequence[tuple[str, str]], count: int, of: int) -> str:
    """How many pictures (``count``, some of them ``unmatched``) of how many were not matched, and a few names."""
    few = ", ".join(f"{p} ({r})" for p, r in unmatched[:_NAMED])
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    return f"{count} of {of} pictures in the table are none of the embedding's: {few}{more}"
