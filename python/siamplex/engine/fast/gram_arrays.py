"""The arrays of the dual form: accumulated gradients, and each row's outputs.

The dual form (:mod:`~siamplex.engine.fast.gram`) writes two weights r and v (O, D) over N rows F (N, D) as
r = ... + A^T F and v = ... + A'^T F.  It stores A, A' and the products F r^T, F v^T, never r and v themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.products import by_columns

Matrix = npt.NDArray[np.float64]
Heights = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
_STEP = 16  # row counts are multiples of it: oneDNN sets up a primitive for each new shape
_TINY = 1e-30  # smaller values are set to zero: denormal numbers slow the processor down


class GramArrays(NamedTuple):
    """``spans`` (2, N, O) are A and A'; ``products`` (2, N, O) are F r^T and F v^T."""

    spans: torch.Tensor
    products: torch.Tensor

    @staticmethod
    def empty(units: int, device: torch.device) -> GramArrays:
        """The arrays for no rows."""
        return GramArrays(*torch.empty((2, 2, 0, units), device=device).unbind())

    def with_rows(self, products: torch.Tensor, gram: torch.Tensor) -> GramArrays:
        """These arrays with new rows; their products are ``products`` (2, new, O) + ``gram`` (new, N) spans."""
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
        """Add ``to_r`` gradient^T F[rows] to r, and ``to_v`` gradient^T F[rows] to v.

        ``rows`` (B,), ``gradient`` (B, O), ``gram`` F[rows] F^T (B, N); ``scratch`` (N, O) may be overwritten.
        """
        change = by_columns(gram, gradient, torch.empty_like(self.products[0]) if scratch is None else scratch)
        for span, products, share in zip(self.spans, self.products, (to_r, to_v), strict=True):
            span.index_add_(0, rows, gradient, alpha=share)
            products.add_(change, alpha=share)

    def heights(self, lag: float) -> Heights:
        """Each unit's maxima over all rows, both (O,): of F r^T and F (r + lag v)^T; of |F r^T| + lag |F v^T|."""
        r, v = self.products[0], self.products[1] * lag
        top, reach = torch.maximum(r, r + v).amax(dim=0), r.abs().add_(v.abs()).amax(dim=0)
        return top.cpu().numpy(), reach.cpu().numpy()


def merged(rows: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the gradients (B, O) of equal rows (B,) and drop zero rows: distinct rows (K,) and sums (K, O).

    A pair past the margin has no gradient, and an image often occurs more than once in a batch.  K is padded
    with zero rows to a multiple of 16, so that products come in few shapes; without any gradient it is 0.
    On devices other than the CPU the arguments are returned unchanged.
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
