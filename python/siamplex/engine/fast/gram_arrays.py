"""The arrays of a Gram form: what gradients left behind, and what each row of the table gives.

For weights r and v (O, D) over N rows F (N, D), with what of them lies in the rows' span, r = ... + A^T F.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.products import by_columns

Matrix = npt.NDArray[np.float64]
Heights = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_STEP = 16  # rows of a product: every shape anew costs oneDNN a while
_TINY = 1e-30  # values that are nothing: smaller ones would slow the processor down


class GramArrays(NamedTuple):
    """``spans`` (2, N, O), the A of r and of v; ``products`` (2, N, O), F r^T and F v^T."""

    spans: torch.Tensor
    products: torch.Tensor

    @staticmethod
    def empty(units: int, device: torch.device) -> GramArrays:
        """For no rows yet."""
        return GramArrays(*torch.empty((2, 2, 0, units), device=device).unbind())

    def with_rows(self, products: torch.Tensor, gram: torch.Tensor) -> GramArrays:
        """With more rows, of ``products`` (2, new, O) but for what the span gives by ``gram`` (new, N)."""
        if gram.numel():
            products = products + gram @ self.spans
        return GramArrays(
            torch.cat([self.spans, torch.zeros_like(products)], dim=1), torch.cat([self.products, products], dim=1)
        )

    def of(self, units: torch.Tensor) -> GramArrays:
        """The arrays of some units."""
        return GramArrays(*(array.index_select(2, units) for array in self))

    def put(self, units: torch.Tensor, theirs: GramArrays) -> None:
        """Set the arrays of some units."""
        for array, other in zip(self, theirs, strict=True):
            array.index_copy_(2, units, other)

    def multiply(self, p: Matrix) -> None:
        """Replace (r, v) by P (r, v)."""
        (rr, rv), (vr, vv) = p.tolist()
        for r, v in self:
            before = r.clone()
            r.mul_(rr).add_(v, alpha=rv)
            v.mul_(vv).add_(before, alpha=vr)
            v.masked_fill_(v.abs() < _TINY, 0)

    def outputs(self, rows: torch.Tensor, of_r: float, of_v: float) -> torch.Tensor:
        """F[rows] (of_r r + of_v v)^T: (B, O) for rows (B,)."""
        r, v = (products.index_select(0, rows) for products in self.products)
        return r.mul_(of_r).add_(v, alpha=of_v)

    def span(self, of_r: float, of_v: float) -> torch.Tensor:
        """of_r A + of_v A' (N, O)."""
        return (self.spans[0] * of_r).add_(self.spans[1], alpha=of_v)

    def add(
        self,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        gram: torch.Tensor,
        to_r: float,
        to_v: float,
        scratch: torch.Tensor | None = None,
    ) -> None:
        """Add so much of gradient^T F[rows] to r, and so much to v.

        ``rows`` (B,), ``gradient`` (B, O), ``gram`` F[rows] F^T (B, N); ``scratch`` (N, O) may be written over.
        """
        change = by_columns(gram, gradient, torch.empty_like(self.products[0]) if scratch is None else scratch)
        for span, products, share in zip(self.spans, self.products, (to_r, to_v), strict=True):
            span.index_add_(0, rows, gradient, alpha=share)
            products.add_(change, alpha=share)

    def heights(self, lag: float) -> Heights:
        """The most that each unit gives for any row by r or by r + lag v, and the most that it has either way: (O,)."""
        r, v = self.products[0], self.products[1] * lag
        top, reach = torch.maximum(r, r + v).amax(dim=0), r.abs().add_(v.abs()).amax(dim=0)
        return top.cpu().numpy(), reach.cpu().numpy()


def merged(rows: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distinct rows (K,) and the sums (K, O) of gradients (B, O) of rows (B,), those without any left out.

    A pair past the margin has no gradient, and an image often comes more than once in a batch.  K is filled up
    with zeros to a multiple of 16, so that products come in few shapes; with no gradient at all it is 0.
    Elsewhere than on the CPU all is left as it is.
    """
    if rows.device.type != "cpu":
        return rows, gradient
    given = gradient.numpy()
    some = np.flatnonzero(given.any(axis=1))
    kept, first, place = np.unique(rows.numpy()[some], return_index=True, return_inverse=True)
    size = -(-len(kept) // _STEP) * _STEP
    which, one = np.zeros((2, size), np.int64)
    which[: len(kept)], one[: len(kept)] = kept, some[first]
    sums = gradient.index_select(0, torch.from_numpy(one))
    sums[len(kept) :] = 0
    rest = np.delete(np.arange(len(some)), first)
    more = gradient.index_select(0, torch.from_numpy(some[rest]))
    return torch.from_numpy(which), sums.index_add_(0, torch.from_numpy(place[rest]), more)
