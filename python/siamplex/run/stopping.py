"""Signals: a training finishes its iteration and takes a snapshot, any other step ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from siamplex.errors import Stopped
from siamplex.run.progress import say

STOP, SNAPSHOT, NOTHING = "stop", "snapshot", "none"  # what a signal may bring about
EFFECTS: Mapping[int, str] = {signal.SIGINT: STOP, signal.SIGTERM: STOP}


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end a command as an error does, so that half-written files are removed.  Raises Stopped."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Stopped(number, f"stopped by {signal.Signals(number).name}; nothing half-written is left")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopRequest:
    """While entered, the first SIGINT or SIGTERM is only noted; a second one ends the program at once.

    ``number`` is the signal that came, None before.  A signal whose effect is a snapshot only sets
    ``wants_snapshot``.  Outside the main thread nothing is caught.
    """

    def __init__(self, effects: Mapping[int, str] = EFFECTS) -> None:
        self._effects = effects
        self.number: int | None = None
        self.wants_snapshot = False
        self._pass_on: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self._effects}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on(self, call: Callable[[], None]) -> None:
        """Let ``call`` tell a child process of the first signal, also of one that came already."""
        self._pass_on = call
        if self.number is not None:
            call()

    def _note(self, number: int, frame: FrameType | None) -> None:
        effect = self._effects[number]
        if effect != STOP:
            self.wants_snapshot |= effect == SNAPSHOT
            return
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        if self._pass_on:
            self._pass_on()
        say(f"{signal.Signals(number).name}: the iteration ends, then a snapshot; once more stops at once")
