"""Embed: row ``i`` of a table for each index ``i``."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.layer import BlobSpec, Context, Layer, Shape, no_gradient, register


@register("Embed")
class Embed(Layer):
    """Looks up float indices in a table (input_dim, num_output) and adds a bias (num_output).

    The top has the bottom's shape with num_output appended.  The indexed pair layout stores each image once, as a row
    of such a table.
    """

    param_field = "embed_param"
    supported = frozenset({"num_output", "input_dim", "bias_term", "weight_filler", "bias_filler"})
    in_place = False
    per_sample = True

    def configure(self) -> None:
        self.require(self.params.num_output > 0, "num_output must be positive", "num_output", 0)
        self.require(self.params.input_dim > 0, "input_dim must be positive", "input_dim", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        size = int(self.params.num_output)
        self.blobs = [BlobSpec((int(self.params.input_dim), size), self.params.weight_filler)]
        if self.params.bias_term:
            self.blobs.append(BlobSpec((size,), self.params.bias_filler))
        return [(*bottoms[0], size)]

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        index = self.indices(bottoms[0])
        rows = torch.nn.functional.embedding(index, params[0])
        y = rows + params[1] if len(params) > 1 else rows
        return [no_gradient(y, bottoms[0], self.spec, "indices have no gradient")]

    def indices(self, bottom: torch.Tensor) -> torch.Tensor:
        """The bottom as int64 indices, checked against the table."""
        index = bottom.long()
        rows = int(self.params.input_dim)
        if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < rows):
            raise self.spec.error(f"index {int(index.min())}..{int(index.max())} into a table of {rows} rows")
        return index
