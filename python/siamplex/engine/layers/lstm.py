"""LSTM: long short-term memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import linear

from siamplex.engine.layers.recurrent import Recurrent, State
from siamplex.engine.net.layer import BlobSpec, register
from siamplex.engine.net.overwritten import Overwritten


class _Forget(torch.autograd.Function):
    """cont * sigmoid(x), 0 where cont is 0, with Caffe's gradient y (1 - y), which is exact where cont is 0 or 1."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cont: torch.Tensor) -> torch.Tensor:
        y = torch.where(cont == 0, torch.zeros_like(cont), cont * torch.sigmoid(x))
        ctx.save_for_backward(y)
        ctx.dtype = x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (y,) = ctx.saved_tensors
        return (grads[0] * y * (1 - y)).to(ctx.dtype), None


@register("LSTM")
class LSTM(Recurrent):
    """c_t = f c_(t-1) + i g, h_t = o tanh(c_t); the top is h (T, N, H), H being num_output, the state h and c.

    The gates of a step are (i, f, o, g) = W_xc x_t + b_c + W_hc (cont_t h_(t-1)) [+ W_xc_static x_static], through a
    sigmoid for i, f and o and tanh for g; f is multiplied by cont_t.  Blobs: W_xc (4H, size of x), b_c (4H),
    [W_xc_static (4H, size of x_static),] W_hc (4H, H).
    """

    states = ("h", "c")

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        # of one step the top is the state's array in Caffe, so that what works on it in place changes the state
        return frozenset({"bottom", "top"} if self._steps == 1 else {"bottom"})

    def recurrent_blobs(self, size: int, static: int | None) -> list[BlobSpec]:
        p, out = self.params, int(self.params.num_output)
        columns = [size, *([static] if static is not None else []), out]
        inward, *others = [BlobSpec((4 * out, count), p.weight_filler) for count in columns]
        return [inward, BlobSpec((4 * out,), p.bias_filler), *others]

    def unroll(
        self, x: torch.Tensor, cont: torch.Tensor, static: torch.Tensor | None, start: State,
        params: Sequence[torch.Tensor],
    ) -> tuple[list[torch.Tensor], State]:  # fmt: skip
        inward = linear(x, params[0], params[1])
        if static is not None:
            inward = inward + linear(static, params[2])
        h, c = start
        outputs = []
        for from_x, goes_on in zip(inward, cont, strict=True):
            i, f, o, g = (from_x + linear(h * goes_on, params[-1])).chunk(4, dim=1)
            c = _Forget.apply(f, goes_on) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return outputs, [h, c]

    def after_pass(self) -> None:
        over = self.overwritten
        if isinstance(over, Overwritten) and self._steps == 1 and not self.params.expose_hidden:
            last = over.last_top(0)
            if last is not None:
                _, c = self._start(last)
                self._carry([last, c])
