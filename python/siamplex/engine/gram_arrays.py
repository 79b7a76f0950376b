"""The arrays of a Gram form: what gradients left behind, and what each row of the table gives.

For weights r and v (O, D) over N rows F (N, D), with what of them lies in the rows' span, r = ... + A^T F.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.products import awake, times_transposed

Matrix = npt.NDArray[np.float64]
Heights = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_TINY = 1e-30  # values that are nothing: smaller ones would slow the processor down


class GramArrays(NamedTuple):
    """``spans`` (2, N, O), the A of r and of v; ``products`` (2, O, N), r F^T and v F^T.

    A gradient falls on a few rows of the one and, mostly, a few rows of the other.
    """

    spans: torch.Tensor
    products: torch.Tensor

    @staticmethod
    def empty(units: int, device: torch.device) -> GramArrays:
        """For no rows yet."""
        return GramArrays(torch.empty((2, 0, units), device=device), torch.empty((2, units, 0), device=device))

    def with_rows(self, products: torch.Tensor, gram: torch.Tensor) -> GramArrays:
        """With more rows, of ``products`` (2, O, new) but for what the span gives by ``gram`` (new, N)."""
        if gram.numel():
            products = products + (gram @ self.spans).transpose(1, 2)
        spans = self.spans.new_zeros((2, products.shape[2], self.spans.shape[2]))
        return GramArrays(torch.cat([self.spans, spans], dim=1), torch.cat([self.products, products], dim=2))

    def of(self, units: torch.Tensor) -> GramArrays:
        """The arrays of some units."""
        return GramArrays(self.spans.index_select(2, units), self.products.index_select(1, units))

    def put(self, units: torch.Tensor, theirs: GramArrays) -> None:
        """Set the arrays of some units."""
        self.spans.index_copy_(2, units, theirs.spans)
        self.products.index_copy_(1, units, theirs.products)

    def multiply(self, p: Matrix) -> None:
        """Replace (r, v) by P (r, v)."""
        (rr, rv), (vr, vv) = p.tolist()
        for r, v in (self.spans, self.products):
            before = r.clone()
            r.mul_(rr).add_(v, alpha=rv)
            v.mul_(vv).add_(before, alpha=vr)
            v.masked_fill_(v.abs() < _TINY, 0)

    def outputs(self, rows: torch.Tensor, of_r: float, of_v: float) -> torch.Tensor:
        """F[rows] (of_r r + of_v v)^T: (B, O) for rows (B,)."""
        r, v = (products.index_select(1, rows) for products in self.products)
        return r.mul_(of_r).add_(v, alpha=of_v).t().contiguous()

    def add(self, rows: torch.Tensor, gradient: torch.Tensor, gram: torch.Tensor, to_r: float, to_v: float) -> None:
        """Add so much of gradient^T F[rows] to r, and so much to v.

        ``rows`` (B,), ``gradient`` (B, O), ``gram`` F[rows] F^T (B, N).
        """
        shares = (to_r, to_v)
        for span, share in zip(self.spans, shares, strict=True):
            span.index_add_(0, rows, gradient, alpha=share)
        units = awake(gradient, gram.shape[1])
        if units is None:
            change = times_transposed(gradient.t(), gram.t())
            for products, share in zip(self.products, shares, strict=True):
                products.add_(change, alpha=share)
            return
        change = times_transposed(gradient.index_select(1, units).t(), gram.t())
        for products, share in zip(self.products, shares, strict=True):
            products.index_add_(0, units, change, alpha=share)

    def heights(self, lag: float) -> Heights:
        """The most that each unit gives for any row by r or by r + lag v, and the most that it has either way: (O,)."""
        r, v = self.products[0], self.products[1] * lag
        return torch.maximum(r, r + v).amax(dim=1).numpy(), r.abs().add_(v.abs()).amax(dim=1).numpy()
