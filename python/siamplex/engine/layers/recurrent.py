"""What Caffe's recurrent layers share: their bottoms and tops, and the state that passes from batch to batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from siamplex.engine.net.carrying import CarryingLayer
from siamplex.engine.net.layer import BlobSpec, Context, Shape, no_gradient

State = list[torch.Tensor]  # (N, num_output) each


class Recurrent(CarryingLayer):
    """A layer that goes through T steps of N streams side by side (Caffe's RecurrentLayer).

    Bottoms are x (T, N, ...), cont (T, N), which is 0 where a sequence begins and 1 where it goes on, and optionally
    x_static (N, ...), which is read at every step.  The first top is (T, N, num_output).

    The state at the end of a pass is the start of the next, in each net by itself; it is zero at first.  No gradient
    goes into the pass before.  With ``expose_hidden`` the start is instead given by further bottoms, behind all others,
    and the end by further tops, (1, N, num_output) each; no gradient goes into or comes from these either.
    ``debug_info`` has no effect.

    Subclasses name the parts of their state (``states``), say in ``recurrent_blobs`` which weights they have, and
    compute in ``unroll``.
    """

    param_field = "recurrent_param"
    supported = frozenset("num_output weight_filler bias_filler debug_info expose_hidden".split())
    in_place = False
    unforced = frozenset({1})
    why_not_in_place = "Caffe's backward pass would take its output for its input"
    backward_reads = frozenset({"bottom"})

    def recurrent_blobs(self, size: int, static: int | None) -> list[BlobSpec]:
        """Weights for an x of ``size`` values and an x_static of ``static``, if any, at each step and stream."""
        raise NotImplementedError

    def unroll(
        self, x: torch.Tensor, cont: torch.Tensor, static: torch.Tensor | None, start: State,
        params: Sequence[torch.Tensor],
    ) -> tuple[list[torch.Tensor], State]:  # fmt: skip
        """The outputs (N, num_output) of the T steps and the state at their end.

        x is (T, N, size), cont (T, N, 1), ``static`` (N, size of x_static).
        """
        raise NotImplementedError

    @property
    def _exposed(self) -> int:
        return len(self.states) if self.params.expose_hidden else 0

    @property
    def bottom_count(self) -> tuple[int, int]:  # type: ignore[override]
        return 2 + self._exposed, 3 + self._exposed

    @property
    def top_count(self) -> tuple[int, int]:  # type: ignore[override]
        return 1 + self._exposed, 1 + self._exposed

    @property
    def has_static(self) -> bool:
        """Whether it has the bottom x_static."""
        return len(self.spec.message.bottom) > 2 + self._exposed

    def configure(self) -> None:
        self.require(self.params.num_output > 0, "num_output must be positive", "num_output", 0)
        self._steps: int | None = None

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        x, cont = bottoms[:2]
        if len(x) < 3:
            raise self.spec.error(f"expected a (T, N, ...) bottom of three axes or more, found {x}", "bottom", 0)
        if self._steps not in (None, x[0]):
            raise self.spec.error(f"{self._steps} steps before and {x[0]} now: their number is fixed", "bottom", 0)
        if cont != x[:2]:
            what = f"expected a {x[:2]} bottom that says where sequences go on, found {cont}"
            raise self.spec.error(what, "bottom", 1)
        static = bottoms[2] if self.has_static else None
        if static is not None and (len(static) < 2 or static[0] != x[1]):
            raise self.spec.error(f"expected a ({x[1]}, ...) bottom of two axes or more, found {static}", "bottom", 2)
        out = int(self.params.num_output)
        hidden = (1, x[1], out)
        first = len(bottoms) - self._exposed
        for index, (name, shape) in enumerate(zip(self.states, bottoms[first:], strict=False), first):
            if shape != hidden:
                what = f"expected a {hidden} bottom, {name} at the start, found {shape}"
                raise self.spec.error(what, "bottom", index)
        self._steps = x[0]
        self.blobs = self.recurrent_blobs(math.prod(x[2:]), math.prod(static[1:]) if static is not None else None)
        return [(*x[:2], out), *[hidden] * self._exposed]

    def multiply_adds(self, bottoms: Sequence[Shape]) -> int:
        """Those of a forward pass: each weight is used at each step of each stream, x_static's once for a stream."""
        steps, streams = bottoms[0][:2]
        weights = [math.prod(blob.shape) for blob in self.blobs if len(blob.shape) == 2]
        once = weights.pop(1) if self.has_static else 0
        return streams * (steps * sum(weights) + once)

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x, cont = bottoms[:2]
        if cont.shape != x.shape[:2]:  # given by a caller
            raise self.spec.error(f"bottoms of shapes {tuple(x.shape)} and {tuple(cont.shape)}")
        static = bottoms[2].flatten(1) if self.has_static else None
        first = len(bottoms) - self._exposed
        start = [given.detach()[0] for given in bottoms[first:]] if self._exposed else self._start(x)
        outputs, end = self.unroll(x.flatten(2), cont.detach()[..., None], static, start, params)
        # of one step the top is the very array that the backward pass reads, as in Caffe
        top = outputs[0][None] if len(outputs) == 1 else torch.stack(outputs)
        top = no_gradient(top, cont, self.spec, "no gradient goes to where sequences go on, its second bottom")
        end = [value.detach() for value in end]
        if self._exposed:
            return [top, *(value[None] for value in end)]
        self._carry(end)
        return [top]

    def _start(self, x: torch.Tensor) -> State:
        """The state that the pass before left: as many of its values as this pass needs, zero where it left fewer.

        Where the number of streams has changed in between, Caffe takes the values as they lie in its memory.
        """
        shape = (x.shape[1], int(self.params.num_output))
        count = math.prod(shape)
        if not self.carried or len(self.carried[0]) < count:
            self.carried = [torch.zeros(count, device=x.device) for _ in self.states]
        return [values[:count].to(x.device).view(shape) for values in self.carried]

    def _carry(self, end: State) -> None:
        flat = [value.reshape(-1).float() for value in end]
        self.carried = [
            new if len(new) == len(old) else torch.cat([new, old[len(new) :].to(new.device)])
            for new, old in zip(flat, self.carried, strict=True)
        ]
