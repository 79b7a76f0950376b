"""The number of threads for an iteration: all of them or one, whichever is faster at the moment.

Threads synchronise dozens of times in an iteration of a few milliseconds.  If another process occupies one of the
cores, each synchronisation may wait for a scheduler time slice, which is longer than the iteration; one thread is then
several times as fast.  So both counts are timed repeatedly.  The choice never changes a result: it is made only where
the products are equal bit for bit with either count.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

from siamplex.engine.fast.products import by_columns, times_transposed

_TRIAL = 6  # iterations of a trial with the other count; the first does not count
_FIRST, _SOON, _LATE = 8, 32, 512  # iterations until the first trial, until the next, and at most after lost ones
_BETTER = 0.95  # share of the usual time below which the other count wins
_SLOWER = 1.6  # times the usual time from which an iteration is slow
_SIGNS = 3  # slow iterations in a row that start a trial at once; a test or snapshot slows only one
_HOPELESS = 1.5  # times the usual time; two such iterations end a trial early
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
    """Let torch use ``count`` threads inside the ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ThreadChoice:
    """Chooses between ``most`` threads and one by timing iterations.

    Call :meth:`tick` at the start of each iteration, and :meth:`rest` before other work (a test, a snapshot).
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
        self._recent: deque[float] = deque(maxlen=_SOON)  # seconds of iterations with the count in use
        self._trial: list[float] | None = None  # seconds with the other count, during a trial
        self._wait, self._left = _SOON, _FIRST

    def tick(self) -> None:
        """Note the start of an iteration."""
        if self.most == 1:
            return
        now = self._clock()
        if self._last is None:
            self._use(self.count)
        else:
            self._took(now - self._last)
        self._last = now

    def rest(self) -> None:
        """Use all threads until the next iteration, and do not time the work before it."""
        if self.most > 1:
            self._use(self.most)
        self._last = None

    def _took(self, seconds: float) -> None:
        if self._trial is None:
            self._recent.append(seconds)
            self._left -= 1
            changed = self._has_changed()
            if changed:  # earlier times no longer apply
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
    """A ThreadChoice for this machine; it never switches where all threads and one thread give different results."""
    most = torch.get_num_threads()
    if device.type != "cpu" or most == 1 or not _alike(most):
        return ThreadChoice(1)
    return ThreadChoice(most)


@torch.no_grad()
def _alike(most: int) -> bool:
    """Whether products of stage 1's shapes are equal bit for bit with one thread and with ``most``."""
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
