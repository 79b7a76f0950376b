"""Progress of long work: a live line on a terminal, plain lines now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, TypeVar

T = TypeVar("T")


def say(text: str) -> None:
    """One plain line on standard error, where the log of a command goes."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Counts ``total`` steps of ``label``.

    On a terminal one line is redrawn at most ten times a second; elsewhere a plain line appears
    every ``every`` seconds and at the end.
    """

    def __init__(self, label: str, total: int, every: float = 15.0, out: IO[str] | None = None) -> None:
        self.label, self.total, self.done = label, total, 0
        self._out = out or sys.stderr
        self._live = self._out.isatty()
        self._interval = 0.1 if self._live else every
        self._start = self._last = time.monotonic()

    def step(self, count: int = 1, note: str = "") -> None:
        """Count steps done; ``note`` is shown behind them (the loss, say)."""
        self.done += count
        now = time.monotonic()
        if now - self._last >= self._interval and self.done < self.total:
            self._last = now
            self._show(now, note)

    def close(self, note: str = "") -> None:
        """Show the final line."""
        self._show(time.monotonic(), note)
        if self._live:
            print(file=self._out)

    def _show(self, now: float, note: str) -> None:
        spent = now - self._start
        left = spent / self.done * (self.total - self.done) if self.done else 0.0
        line = f"{self.label}: {self.done}/{self.total}, {spent:.1f} s"
        if self.done < self.total:
            line += f", {left:.0f} s left"
        if note:
            line += f", {note}"
        if self._live:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)
        else:
            print(line, file=self._out, flush=True)


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield ``items`` while a Progress counts them."""
    progress = Progress(label, total)
    for item in items:
        yield item
        progress.step()
    progress.close()
