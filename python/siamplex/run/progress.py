"""Progress of long work: a bar on a terminal, plain lines now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

tqdm.monitor_interval = 0  # no thread beside a training that forks and takes signals


def say(text: str) -> None:
    """One plain line on standard error, where the log of a command goes; a bar that stands there moves below it."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


class Progress:
    """Counts ``total`` steps of ``label``.

    On a terminal a bar is redrawn at most ten times a second.  Elsewhere a plain line appears every ``every`` seconds
    and at the end.
    """

    def __init__(self, label: str, total: int, every: float = 15.0, out: IO[str] | None = None) -> None:
        self.label, self.total, self.done = label, total, 0
        self._out = out or sys.stderr
        self._every = every
        self._start = self._last = time.monotonic()
        self._bar = tqdm(total=total, desc=label, file=self._out, dynamic_ncols=True) if self._out.isatty() else None

    def step(self, count: int = 1, note: str = "") -> None:
        """Count steps done; ``note`` is shown behind them (the loss, say)."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._last >= self._every and self.done < self.total:
            self._last = now
            self._line(now, note)

    def close(self, note: str = "") -> None:
        """Show the final state."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.close()
            return
        self._line(time.monotonic(), note)

    def _line(self, now: float, note: str) -> None:
        spent = now - self._start
        left = spent / self.done * (self.total - self.done) if self.done else 0.0
        line = f"{self.label}: {self.done}/{self.total}, {spent:.1f} s"
        if self.done < self.total:
            line += f", {left:.0f} s left"
        print(f"{line}, {note}" if note else line, file=self._out, flush=True)


def track(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield ``items`` while a Progress counts them."""
    progress = Progress(label, total)
    for item in items:
        yield item
        progress.step()
    progress.close()
