"""The displayed loss: Caffe's running mean of the last ``average_loss`` losses."""

from __future__ import annotations

from typing import Any


class RunningMean:
    """Mean of the last ``size`` values, updated as Caffe does (the same roundings in the same order)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._start = 0
        self._last: list[float] = []
        self.value = 0.0

    def begin(self, iteration: int) -> None:
        """Start anew at ``iteration``."""
        self._start, self.value = iteration, 0.0
        self._last.clear()

    def add(self, loss: float, iteration: int) -> None:
        """Count the loss of an iteration."""
        if len(self._last) < self._size:
            self._last.append(loss)
            count = len(self._last)
            self.value = (self.value * (count - 1) + loss) / count
        else:
            slot = (iteration - self._start) % self._size
            self.value += (loss - self._last[slot]) / self._size
            self._last[slot] = loss

    def state(self) -> dict[str, Any]:
        """The state from which :meth:`restore` resumes."""
        return {"start": self._start, "last": list(self._last), "value": self.value}

    def restore(self, state: dict[str, Any]) -> bool:
        """Restore a state; False where it has another size."""
        last = state.get("last")
        if not isinstance(last, list) or not last or len(last) > self._size:
            return False
        self._start, self._last, self.value = int(state["start"]), [float(x) for x in last], float(state["value"])
        return True
