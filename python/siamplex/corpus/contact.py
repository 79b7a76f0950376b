"""A contact sheet of an indexed corpus: its faces by emotion, framed as a net will see them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from siamplex.corpus_index import CorpusIndex, Entry
from siamplex.emotions import NAMES
from siamplex.images import fit
from siamplex.progress import track

_HEADING, _LABEL, _GAP = 30, 14, 4
_GREY = (90, 90, 90)

Sheet = npt.NDArray[np.uint8]


def contact_sheet(index: CorpusIndex, most: int = 36, columns: int = 12, side: int = 96) -> Sheet:
    """A picture (H, W, 3) BGR: for each emotion up to ``most`` faces of ``side`` pixels, subjects below them.

    Faces are spread over the subjects.  Raises InputError where a file is gone or unreadable.
    """
    groups = [(e, [entry for entry in index.entries if entry.emotion == e]) for e in index.emotions]
    chosen = [(emotion, members, spread(members, most)) for emotion, members in groups]
    cell = side + _GAP
    heights = [_HEADING + -(-len(faces) // columns) * (cell + _LABEL) for _, _, faces in chosen]
    sheet = np.full((_HEADING + sum(heights), columns * cell + _GAP, 3), 255, np.uint8)
    kind = "SYNTHETIC faces, drawn by a program" if index.synthetic else "photographs"
    crops = sorted({str(entry.crop) if entry.crop else "none" for entry in index.entries})
    _text(sheet, f"{len(index)} {kind}, {len(index.subjects)} subjects; crop {' and '.join(crops)}", (_GAP, 20), 0.45)
    top = _HEADING
    faces = iter(track([f for _, _, some in chosen for f in some], "contact sheet", sum(len(s) for _, _, s in chosen)))
    for (emotion, members, some), height in zip(chosen, heights, strict=True):
        shown = "" if len(some) == len(members) else f", {len(some)} shown"
        subjects = len({m.subject for m in members})
        heading = f"{NAMES[emotion]} ({emotion}): {len(members)} faces of {subjects} subjects{shown}"
        _text(sheet, heading, (_GAP, top + 20), 0.5)
        for i, entry in enumerate(some):
            row, column = divmod(i, columns)
            y, x = top + _HEADING + row * (cell + _LABEL), _GAP + column * cell
            sheet[y : y + side, x : x + side] = fit(next(faces).picture(), side)
            _text(sheet, entry.subject[: side // 7], (x, y + side + _LABEL - 3), 0.33, _GREY)
        top += height
    next(faces, None)  # lets the progress end
    return sheet


def spread(members: Sequence[Entry], most: int) -> list[Entry]:
    """Up to ``most`` entries: one of each subject, then another of each, and so on; in the order of subjects."""
    taken: dict[str, int] = {}
    rounds = []
    for at, entry in enumerate(members):
        rounds.append((taken.get(entry.subject, 0), at))
        taken[entry.subject] = taken.get(entry.subject, 0) + 1
    if len(taken) > most:  # not the first subjects alone
        firsts = [members[at] for turn, at in rounds if turn == 0]
        return [firsts[i * len(firsts) // most] for i in range(most)]
    chosen = [members[at] for _, at in sorted(rounds)[:most]]
    return sorted(chosen, key=lambda entry: (entry.subject, entry.image))


def _text(
    sheet: Sheet, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int] = (20, 20, 20)
) -> None:
    plain = text.encode("ascii", "replace").decode("ascii")  # the font has no other letters
    cv2.putText(sheet, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
