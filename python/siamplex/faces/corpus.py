"""Draws a whole corpus: allots emotions to actors, names the files, and labels them synthetic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siamplex.corpus.emotions import EMOTIONS, NAMES
from siamplex.corpus.synthetic import MARKER
from siamplex.errors import InputError, UsageError
from siamplex.faces.canvas import HEIGHT, WIDTH, Image
from siamplex.faces.contact_sheet import contact_sheet
from siamplex.faces.drawing import draw
from siamplex.faces.expression import enact
from siamplex.faces.identity import actor
from siamplex.faces.moment import draw_moment
from siamplex.randomness import derive, numpy_stream
from siamplex.run.durable import atomic_directory, require_room
from siamplex.run.progress import track

# NimStim has 18 women and 25 men
_WOMEN, _ACTORS = 18, 43

# mouth variants in the order they are allotted; only happiness comes three times from everyone
_VARIANTS: Mapping[str, Sequence[str]] = {
    "AN": "OCX", "DI": "OCX", "FE": "OCX", "HA": "COX", "SA": "COX", "SP": "OCX",
}  # fmt: skip


@dataclass(frozen=True)
class Portrait:
    """One image to draw."""

    number: int
    sex: str
    emotion: str
    variant: str

    @property
    def name(self) -> str:
        """NimStim's name of it: ``01F_AN_C``."""
        return f"{self.number:02d}{self.sex}_{self.emotion}_{self.variant}"


def allot(counts: Mapping[str, int], actors: int, seed: int) -> list[Portrait]:
    """Who shows what: each variant goes once round the actors until an emotion's count is met.

    Raises UsageError for more images of an emotion than three for each actor.
    """
    if not 1 <= actors <= 99:
        raise UsageError(f"--actors: expected 1 to 99, found {actors}")
    women = round(actors * _WOMEN / _ACTORS)
    portraits = []
    for emotion in sorted(EMOTIONS):
        count = counts.get(emotion, 0)
        slots = [(v, n) for v in _VARIANTS[emotion] for n in _order(actors, seed, emotion, v)]
        if not 0 <= count <= len(slots):
            raise UsageError(f"{count} images of {NAMES[emotion]}: expected at most {len(slots)} from {actors} actors")
        for variant, number in slots[:count]:
            portraits.append(Portrait(number, "F" if number <= women else "M", emotion, variant))
    return sorted(portraits, key=lambda p: p.name)


def _order(actors: int, seed: int, emotion: str, variant: str) -> list[int]:
    stream = numpy_stream(seed, "allot", emotion, variant)
    return [int(n) + 1 for n in stream.permutation(actors)]


def portray(portrait: Portrait, seed: int) -> Image:
    """Draw one portrait: (308, 240, 3) BGR uint8, always the same for the same seed."""
    who = actor(portrait.number, portrait.sex, seed)
    shown = enact(portrait.emotion, portrait.variant, who.expression, numpy_stream(seed, "expression", portrait.name))
    # pose, light and camera come from a stream that does not know the emotion's meaning
    moment = draw_moment(
        numpy_stream(seed, "moment", portrait.name),
        hair=derive(seed, "hair", portrait.name),
        grain=derive(seed, "grain", portrait.name),
    )
    return draw(who, shown, moment)


def _draw_to(job: tuple[Portrait, int, str]) -> str:
    portrait, seed, folder = job
    cv2.setNumThreads(1)
    if not cv2.imwrite(str(Path(folder) / f"{portrait.name}.BMP"), portray(portrait, seed)):
        raise OSError(f"cannot write {portrait.name}.BMP")
    return portrait.name


def draw_corpus(folder: Path, counts: Mapping[str, int], actors: int, seed: int, workers: int) -> list[Portrait]:
    """Draw the corpus into ``folder`` (whole or not at all) with a contact sheet and a marker.

    Raises UsageError or StorageError, and InputError where ``folder`` holds something else.
    """
    portraits = allot(counts, actors, seed)
    check_target(folder)
    require_room(folder, len(portraits) * (WIDTH * HEIGHT * 3 + 54), f"{len(portraits)} faces")
    with atomic_directory(folder) as part:
        jobs = [(portrait, seed, str(part)) for portrait in portraits]
        if workers > 1:
            with ProcessPoolExecutor(workers) as pool:
                list(track(pool.map(_draw_to, jobs, chunksize=8), "faces", len(jobs)))
        else:
            list(track(map(_draw_to, jobs), "faces", len(jobs)))
        sheet = contact_sheet([(p.number, p.sex, p.emotion, p.variant, p.name) for p in portraits], part)
        cv2.imwrite(str(part / "contact_sheet.png"), sheet)
        marker = {
            "synthetic": True,
            "note": "Drawn by siamplex as an open stand-in for NimStim; no person is shown.",
            "seed": seed,
            "actors": actors,
            "images": len(portraits),
            "counts": {e: sum(p.emotion == e for p in portraits) for e in sorted(EMOTIONS)},
        }
        (part / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return portraits


def check_target(folder: Path) -> None:
    """Refuse to draw over anything but an earlier drawn corpus.  Raises InputError."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise InputError(folder, "an empty folder or an earlier synthetic corpus", "other files")
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "an empty folder or an earlier synthetic corpus", "a file")


def scaled_counts(counts: Mapping[str, int], actors: int) -> dict[str, int]:
    """The paper's counts, for another number of actors."""
    return {e: int(np.floor(c * actors / _ACTORS)) for e, c in counts.items()}
