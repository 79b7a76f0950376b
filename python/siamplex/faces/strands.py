"""Strands of hair, which fall differently in every photograph."""

from __future__ import annotations

import numpy as np

from siamplex.faces.canvas import Canvas, tint
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import Points, curve

_TONE = 0.34  # log deviation


class Strands:
    """Draws strands of one actor's hair in one moment, from that moment's own stream."""

    def __init__(self, canvas: Canvas, who: Identity, seed: int) -> None:
        self._canvas, self._who = canvas, who
        self._stream = np.random.default_rng(seed)

    def sweep(self, roots: Points, tips: Points, count: int, loose: float, base: float = 1.0) -> None:
        """``count`` strands from a line of roots (n, 2) to a line of tips (n, 2).

        Each starts and ends at the same share of its line, give or take ``loose`` pixels, and has its own
        tone round ``base`` times the hair's colour.
        """
        r = self._stream
        for share in np.sort(r.uniform(0, 1, count)):
            root, tip = _at(roots, share) + r.normal(0, loose / 3, 2), _at(tips, share) + r.normal(0, loose, 2)
            bend = (root + tip) / 2 + r.normal(0, loose, 2)
            tone = base * float(np.exp(np.clip(r.normal(0.05, _TONE), -0.8, 0.8)))
            line = curve([tuple(root), tuple(bend), tuple(tip)], count=10)
            self._canvas.line(line, tint(self._who.hair, tone, 18 * max(0.0, tone - 1)), float(r.uniform(0.4, 1.1)))

    def curls(self, middle: tuple[float, float], radius: float, base: float = 1.0) -> None:
        """Rings about ``radius`` wide near the point ``middle``."""
        r = self._stream
        for _ in range(4):
            x, y = np.array(middle) + r.normal(0, radius / 2, 2)
            a0, size = r.uniform(0, 2 * np.pi), radius * r.uniform(0.3, 0.7)
            t = a0 + np.linspace(0, 4.2, 10)
            tone = base * float(np.exp(np.clip(r.normal(0.1, _TONE), -0.8, 0.8)))
            arc = np.c_[x + size * np.cos(t), y + size * np.sin(t)]
            self._canvas.line(arc, tint(self._who.hair, tone, 18 * max(0.0, tone - 1)), 0.9)


def _at(line: Points, share: float) -> Points:
    place = share * (len(line) - 1)
    low = min(int(place), len(line) - 2)
    return np.asarray(line[low] + (place - low) * (line[low + 1] - line[low]), np.float64)
