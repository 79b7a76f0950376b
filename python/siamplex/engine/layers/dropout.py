"""Dropout: in training, keep each value with probability 1 - ratio and scale it by 1/(1 - ratio)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register
from siamplex.randomness import derive


@register("Dropout")
class Dropout(Layer):
    """Identity in the TEST phase; twin towers draw separate masks, as in Caffe.

    The mask depends only on (run seed, layer, iteration, pass).  It is drawn on the CPU, so it does not
    depend on the device.
    """

    param_field = "dropout_param"
    supported = frozenset({"dropout_ratio"})

    def configure(self) -> None:
        ratio, train = self.params.dropout_ratio, self.spec.train
        # At 1, training would scale zeros by 1 / 0.  In phase TEST Caffe copies, and only its debug builds look at the
        # ratio: some nets have a Dropout of their own there, with ratio 1.
        held = 0 <= ratio < 1 or (ratio == 1 and not train)
        self.require(held, f"dropout_ratio {ratio:g} is not between 0 and 1", "dropout_ratio", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        return [bottoms[0]]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        x = bottoms[0]
        if not context.train or not self.params.dropout_ratio:
            return [x]
        return [x * self.mask(tuple(x.shape), context).to(device=x.device, dtype=x.dtype)]

    def mask(self, shape: Shape, context: Context) -> torch.Tensor:
        """The mask of a training pass: 0 or 1 / (1 - ratio), float32 on the CPU.

        It is drawn for the whole batch; ``shape`` may be this process's share of it.
        """
        share = self.spec.share
        whole = np.empty(math.prod(shape) * share.size, np.float32)
        _draw(whole, float(self.params.dropout_ratio), self._stream(context))
        return torch.from_numpy(share.of(whole)).reshape(shape)

    def twin_masks(self, twin: Dropout, shape: Shape, context: Context) -> torch.Tensor:
        """The masks of this layer and of its twin, each (N / 2, ...), concatenated to (N, ...)."""
        half = (shape[0] // 2, *shape[1:])
        if self.spec.share.size > 1:
            return torch.cat([self.mask(half, context), twin.mask(half, context)])
        both = np.empty(shape, np.float32)
        for part, layer in zip((both[: half[0]], both[half[0] :]), (self, twin), strict=True):
            _draw(part.reshape(-1), float(layer.params.dropout_ratio), layer._stream(context))
        return torch.from_numpy(both)

    def _stream(self, context: Context) -> torch.Generator:
        seed = derive(context.seed, "dropout", self.spec.key, context.iteration, context.sub_pass)
        return torch.Generator().manual_seed(seed)


def _draw(out: npt.NDArray[np.float32], ratio: float, stream: torch.Generator) -> None:
    """Fill ``out`` (count,): 1 / (1 - ratio) with probability 1 - ratio, else 0.

    To save random numbers, a value takes one random bit at ratio 0.5, and one byte at ratios where that is exact.
    """
    count, scale = len(out), np.float32(1.0 / (1.0 - ratio))
    limit = ratio * 256
    if not limit.is_integer():
        np.multiply((torch.rand(count, generator=stream) >= ratio).numpy(), scale, out=out)
        return
    bits = ratio == 0.5
    words = torch.empty(-(-count // (64 if bits else 8)), dtype=torch.int64).random_(-(2**63), None, generator=stream)
    octets = words.numpy().view(np.uint8)
    if not bits:
        np.multiply(octets[:count] >= int(limit), scale, out=out)
    elif count % 8:
        out[:] = _EIGHT.take(octets, axis=0).reshape(-1)[:count]
    else:  # "clip": an index cannot be out of range, and without a check numpy writes in place
        _EIGHT.take(octets[: count // 8], axis=0, out=out.reshape(-1, 8), mode="clip")


# the masks that eight bits stand for: (256, 8), 0 or 2
_EIGHT = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) * np.float32(2)
