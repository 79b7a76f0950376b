"""One picture of many faces: actors down, emotions across."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from siamplex.corpus.emotions import EMOTIONS, NAMES
from siamplex.faces.canvas import HEIGHT, WIDTH, Image

_ROWS = 12
_CELL = (120, 154)  # width, height


def contact_sheet(portraits: Sequence[tuple[int, str, str, str, str]], folder: Path) -> Image:
    """A sheet of up to 12 actors by six emotions, from (number, sex, emotion, variant, name).

    Closed and open mouths alternate from actor to actor.  Labelled synthetic in its heading.
    """
    numbers = sorted({p[0] for p in portraits})
    step = max(1, len(numbers) // _ROWS)
    chosen = numbers[::step][:_ROWS]
    width, height = _CELL
    top = 46
    sheet: Image = np.full((top + height * len(chosen), 40 + width * len(EMOTIONS), 3), 255, np.uint8)
    _text(sheet, "SYNTHETIC stand-in faces drawn by siamplex (no person is shown)", (8, 16), 0.45)
    for column, emotion in enumerate(EMOTIONS):
        _text(sheet, f"{NAMES[emotion]} ({emotion})", (44 + column * width, 38), 0.42)
    for row, number in enumerate(chosen):
        for column, emotion in enumerate(EMOTIONS):
            mine = sorted(p[4] for p in portraits if p[0] == number and p[2] == emotion)
            if mine:
                image = cv2.imread(str(folder / f"{mine[row % len(mine)]}.BMP"))
                small = cv2.resize(image, (width, round(width * HEIGHT / WIDTH)), interpolation=cv2.INTER_AREA)
                y, x = top + row * height, 40 + column * width
                sheet[y : y + small.shape[0], x : x + width] = small
        _text(sheet, f"{number:02d}", (8, top + row * height + height // 2), 0.45)
    return sheet


def _text(sheet: Image, text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 1, cv2.LINE_AA)
