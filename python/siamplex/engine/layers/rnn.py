"""RNN: a recurrent network of one hidden layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import linear

from siamplex.engine.layers.recurrent import Recurrent, State
from siamplex.engine.net.layer import BlobSpec, register


@register("RNN")
class RNN(Recurrent):
    """h_t = tanh(W_xh x_t + b_h + W_hh (cont_t h_(t-1)) [+ W_xh_static x_static]), o_t = tanh(W_ho h_t + b_o).

    The top is o (T, N, H), H being num_output, the state h.  Blobs: W_xh (H, size of x), b_h (H),
    [W_xh_static (H, size of x_static),] W_hh (H, H), W_ho (H, H), b_o (H).
    """

    states = ("h",)
    backward_reads = frozenset({"bottom", "top"})

    def recurrent_blobs(self, size: int, static: int | None) -> list[BlobSpec]:
        p, out = self.params, int(self.params.num_output)
        columns = [size, *([static] if static is not None else []), out, out]
        inward, *others = [BlobSpec((out, count), p.weight_filler) for count in columns]
        bias = BlobSpec((out,), p.bias_filler)
        return [inward, bias, *others, bias]

    def unroll(
        self, x: torch.Tensor, cont: torch.Tensor, static: torch.Tensor | None, start: State,
        params: Sequence[torch.Tensor],
    ) -> tuple[list[torch.Tensor], State]:  # fmt: skip
        recurrent, outward, bias = params[-3:]
        inward = linear(x, params[0], params[1])
        if static is not None:
            inward = inward + linear(static, params[2])
        (h,) = start
        outputs = []
        for from_x, goes_on in zip(inward, cont, strict=True):
            h = torch.tanh(from_x + linear(h * goes_on, recurrent))
            outputs.append(torch.tanh(linear(h, outward, bias)))
        return outputs, [h]
