"""Input: blobs whose values the caller sets (deploy nets)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import Context, Layer, Shape, register


@register("Input")
class Input(Layer):
    """Declares tops of the given shapes; one shape serves all tops when only one is given."""

    param_field = "input_param"
    supported = frozenset({"shape"})
    bottom_count = (0, 0)
    top_count = (1, 1000)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        shapes = [tuple(int(d) for d in shape.dim) for shape in self.params.shape]
        tops = len(self.spec.message.top)
        self.require(len(shapes) in (1, tops), f"{len(shapes)} shapes for {tops} tops", "shape", 0)
        return shapes * tops if len(shapes) == 1 else shapes

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        raise self.spec.error("its values were not given")
