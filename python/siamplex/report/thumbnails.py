"""All faces of a run as one sprite image, from which the page cuts thumbnails."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from siamplex.corpus.images import fit
from siamplex.corpus.index import CorpusIndex
from siamplex.errors import InputError

SIDE = 64  # pixels of a thumbnail
_QUALITY = 82


@dataclass(frozen=True)
class Sprite:
    """Thumbnails in rows of ``columns``, in the order of the index, as a data URI."""

    uri: str
    columns: int
    rows: int


def sprite(index: CorpusIndex) -> Sprite | None:
    """The faces of an index; None where their files are gone."""
    columns = int(np.ceil(np.sqrt(len(index))))
    rows = -(-len(index) // columns)
    sheet = np.full((rows * SIDE, columns * SIDE, 3), 238, np.uint8)
    for i, entry in enumerate(index.entries):
        try:
            face = fit(entry.picture(), SIDE, "crop")
        except InputError:
            return None
        y, x = divmod(i, columns)
        sheet[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = face
    written, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not written:
        return None
    return Sprite(f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}", columns, rows)
