"""Messages as C++ prints them in Caffe's log."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from siamplex.schema import prototxt

_FLOAT = re.compile(r"^( *\w+: )(-?\d+\.\d+(?:e[+-]\d+)?|-?\d+e[+-]\d+)$", re.MULTILINE)  # as Python prints one


def message_text(message: Any) -> str:
    """A message's text without the last line's end: numbers with six digits, or as many as a float32 needs."""
    return _FLOAT.sub(lambda found: found.group(1) + _number(float(found.group(2))), prototxt.to_text(message)).rstrip()


def _number(value: float) -> str:
    short = f"{value:.6g}"
    return short if np.float32(short) == np.float32(value) else f"{value:.9g}"
