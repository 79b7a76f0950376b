"""Reading people's judgements: a matrix of emotions, or a table of judged pictures."""

from __future__ import annotations

from pathlib import Path

from siamplex.similarity.matrices import KINDS, Judgements, read_judgements
from siamplex.similarity.picture_table import PictureTable, is_picture_table, read_picture_table

PICTURES = "pictures"
HUMAN_KINDS = (*KINDS, PICTURES)


def read_human(path: Path, kind: str = "auto") -> Judgements | PictureTable:
    """Read judgements; ``auto`` tells a matrix from a table of pictures by its content.  Raises InputError."""
    if kind == PICTURES or (kind == "auto" and is_picture_table(path)):
        return read_picture_table(path)
    return read_judgements(path, kind)
