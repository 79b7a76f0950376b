"""DummyData: tops with values from fillers, without any file."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.fillers import FillerError, fill
from siamplex.engine.net.layer import Context, Layer, Shape, filler, register


@register("DummyData")
class DummyData(Layer):
    """One shape and filler for all tops or one for each; zeros without a filler.

    Random fillers draw anew in each pass, from (seed, layer, iteration, pass).  The draws are not Caffe's, but a
    resumed run repeats them.  ``num``, ``channels``, ``height`` and ``width`` are the older form of ``shape``.
    """

    param_field = "dummy_data_param"
    supported = frozenset({"data_filler", "shape", "num", "channels", "height", "width"})
    bottom_count = (0, 0)
    top_count = (1, 1000)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p, tops = self.params, len(self.spec.message.top)
        count = len(p.data_filler)
        self.require(count in (0, 1, tops), f"{count} fillers for {tops} tops", "data_filler", 0)
        shapes = [tuple(int(d) for d in shape.dim) for shape in p.shape]
        sizes = (p.num, p.channels, p.height, p.width)
        if any(sizes):
            self.require(not shapes, "give shape, or num, channels, height and width, not both", "shape", 0)
            for name, given in zip(("num", "channels", "height", "width"), sizes, strict=True):
                self.require(len(given) in (1, tops), f"{len(given)} values of {name} for {tops} tops", name, 0)
            shapes = [tuple(int(given[i if len(given) > 1 else 0]) for given in sizes) for i in range(tops)]
        self.require(len(shapes) in (1, tops), f"{len(shapes)} shapes for {tops} tops", "shape", 0)
        self._shapes: list[Shape] = shapes * tops if len(shapes) < tops else shapes
        fillers = list(p.data_filler) or [filler()]
        self._fillers = fillers * tops if len(fillers) < tops else fillers
        self._kept: dict[int, torch.Tensor] = {}
        return self._shapes

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        return [self._filled(index, context) for index in range(len(self._shapes))]

    def _filled(self, index: int, context: Context) -> torch.Tensor:
        if index in self._kept:
            return self._kept[index]
        one = self._fillers[index]
        constant = one.type == "constant"
        name = self.spec.key if constant else f"{self.spec.key}:{context.iteration}:{context.sub_pass}:{context.train}"
        try:
            values = torch.from_numpy(fill(one, self._shapes[index], context.seed, name, index))
        except FillerError as error:
            raise self.spec.error(str(error)) from None
        if constant:
            self._kept[index] = values
        return values
