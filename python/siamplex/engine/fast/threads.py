"""How many threads share the short pieces of an iteration: all of them, or one, whichever is quicker at the time.

Two threads meet dozens of times in an iteration of a few milliseconds.  Where another process has one of their
cores, each meeting may wait for a slice of the scheduler's, longer than the whole iteration: then one thread alone
is several times as fast.  So both are timed, again and again, and never change a number: every product comes out
the same bit for bit by either, or no choice is made.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

from siamplex.engine.fast.products import by_columns, times_transposed

_TRIAL = 6  # iterations of a trial, of which the first does not count
_FIRST, _SOON, _LATE = 8, 32, 512  # iterations until the first trial, the next one, and where all were in vain
_BETTER = 0.95  # of the time so far, below which a trial is won
_SLOWER = 1.6  # times what was usual: something has changed
_SIGNS = 3  # slow iterations in a row, of which no test or snapshot is the reason
_HOPELESS = 1.5  # times the time so far: a trial need not go on
_SHAPES = (
    (64, 1024, 256),
    (256, 1024, 256),
    (208, 256, 1024),
    (256, 208, 1024),
    (411, 160, 1024),
    (923, 176, 1024),
    (923, 48, 311),
    (64, 256, 2),
)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ThreadChoice:
    """Chooses between ``most`` threads and one, from how long iterations take.

    :meth:`tick` is called as each iteration begins, :meth:`rest` where something else comes in between.
    """

    def __init__(
        self,
        most: int,
        use: Callable[[int], None] = torch.set_num_threads,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.most, self._use, self._clock = most, use, clock
        self.count = most
        self._last: float | None = None
        self._recent: deque[float] = deque(maxlen=_SOON)  # what iterations took with the count in use
        self._trial: list[float] | None = None  # and with the other one, while that is tried
        self._wait, self._left = _SOON, _FIRST

    def tick(self) -> None:
        """An iteration begins."""
        if self.most == 1:
            return
        now = self._clock()
        if self._last is None:
            self._use(self.count)
        else:
            self._took(now - self._last)
        self._last = now

    def rest(self) -> None:
        """Use all threads until the next iteration, and do not count what comes before it."""
        if self.most > 1:
            self._use(self.most)
        self._last = None

    def _took(self, seconds: float) -> None:
        if self._trial is None:
            self._recent.append(seconds)
            self._left -= 1
            changed = self._has_changed()
            if changed:  # what was usual before says nothing any more
                times = list(self._recent)[-_SIGNS:]
                self._recent.clear()
                self._recent.extend(times)
                self._wait = _SOON // 2
            if self._left <= 0 or changed:
                self._trial = []
                self._switch()
            return
        self._trial.append(seconds)
        usual = median(self._recent)
        hopeless = sum(took > _HOPELESS * usual for took in self._trial) >= 2
        if not hopeless and len(self._trial) < _TRIAL:
            return
        won = not hopeless and median(self._trial[1:]) < _BETTER * usual
        self._wait = _SOON if won else min(2 * self._wait, _LATE)
        self._left = self._wait
        if not won:
            self._switch()
        self._trial = None
        self._recent.clear()

    def _has_changed(self) -> bool:
        times = list(self._recent)
        return len(times) >= 8 and min(times[-_SIGNS:]) > _SLOWER * median(times)

    def _switch(self) -> None:
        self.count = 1 if self.count == self.most else self.most
        self._use(self.count)


def choice(device: torch.device) -> ThreadChoice:
    """A choice for this machine; one that always takes all threads where these give other numbers than one does."""
    most = torch.get_num_threads()
    if device.type != "cpu" or most == 1 or not _alike(most):
        return ThreadChoice(1)
    return ThreadChoice(most)


@torch.no_grad()
def _alike(most: int) -> bool:
    """Whether products of the kinds that stage 1 needs are the same bit for bit with one thread as with ``most``."""
    stream = torch.Generator().manual_seed(1)
    for n, k, m in _SHAPES:
        x, w, bias = (torch.randn(*shape, generator=stream) for shape in ((n, k), (m, k), (m,)))
        given = [(x, w), (x, w.t().contiguous().t()), (x.t().contiguous().t(), w.t().contiguous().t())]
        found = []
        for count in (1, most):
            with threads(count):
                change = by_columns(x.t().contiguous(), w.t().contiguous(), torch.empty(n, m))
                found.append([times_transposed(*pair, bias) for pair in given] + [change, x.sum(0), x.amax(0)])
        if not all(torch.equal(a, b) for a, b in zip(*found, strict=True)):
            return False
    return True
