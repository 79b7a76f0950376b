"""Products of a feature table's rows that the dual form needs: with one another, and with W0 and V0."""

from __future__ import annotations

import torch

from siamplex.engine.fast.feature_table import FeatureTable

_COLUMNS = 8192  # width of the float64 blocks


class GramRows:
    """Products of the N rows F of a table: K = F F^T, F W0^T and F V0^T.

    ``trained`` (M,) are the rows trained on, in the order of the dual form's arrays; ``among`` (M, M) is K restricted
    to them.
    """

    def __init__(self, table: FeatureTable, weight: torch.Tensor, velocity: torch.Tensor | None) -> None:
        self.table = table
        self._weight = weight  # W0 (O, D)
        self.velocity = velocity  # V0 (O, D), None for zero
        device, width = weight.device, int(weight.shape[0])
        self._gram = torch.empty((0, 0), device=device)  # K (N, N)
        self.base = torch.empty((1 if velocity is None else 2, 0, width), device=device)  # F W0^T, F V0^T
        self.trained = torch.empty(0, dtype=torch.int64, device=device)
        self.place = torch.empty(0, dtype=torch.int64, device=device)  # (N,) position of each row in trained, or -1
        self.among = self._gram

    @torch.no_grad()
    def grow(self, first: int, last: int) -> None:
        """Add the table's new rows ``first`` to ``last``."""
        known = self.table.prepared
        if known is not None:
            self._gram, self.base = known.gram, known.base[None]
            self.place = self.place.new_full((last,), -1)
            return
        features = self.table.features
        new = features[first:last]
        old, self._gram = self._gram, self._gram.new_empty((last, last))
        self._gram[:first, :first] = old
        cross = row_products(new, features)
        self._gram[first:last] = cross
        self._gram[:first, first:last] = cross[:, :first].t()
        self.base = torch.cat([self.base, self._of_start(new)], dim=1)
        self.place = torch.cat([self.place, self.place.new_full((last - first,), -1)])

    def _of_start(self, features: torch.Tensor) -> torch.Tensor:
        """features W0^T, and features V0^T unless V0 is zero, for features (n, D): (1 or 2, n, O)."""
        weights = [self._weight.detach()] + ([] if self.velocity is None else [self.velocity])
        return torch.stack([outputs_of(features, weight) for weight in weights])

    def start_anew(self, velocity: torch.Tensor | None) -> None:
        """Recompute F W0^T and F V0^T after W0 and V0 changed; no row counts as trained on afterwards."""
        self.velocity = velocity
        if len(self.table):
            self.base = self._of_start(self.table.features)
        self.set_trained(self.trained[:0])

    def combined(self, rows: torch.Tensor, of_w: float, of_v: float) -> torch.Tensor:
        """of_w F[rows] W0^T + of_v F[rows] V0^T (n, O)."""
        z = self.base[0].index_select(0, rows).mul_(of_w)
        return z if len(self.base) == 1 else z.add_(self.base[1].index_select(0, rows), alpha=of_v)

    def with_trained(self, rows: torch.Tensor) -> torch.Tensor:
        """K between rows (n,) and the rows trained on: (n, M)."""
        return self._gram.index_select(0, rows).index_select(1, self.trained)

    def not_trained(self, rows: torch.Tensor) -> torch.Tensor:
        """The distinct ones among rows (n,) that have not been trained on."""
        new = torch.unique(rows)
        return new[self.place.index_select(0, new) < 0]

    def set_trained(self, rows: torch.Tensor) -> None:
        """Set the rows trained on; the dual form's arrays must have the same rows."""
        self.trained = rows
        self.place.fill_(-1)[rows] = torch.arange(len(rows), device=rows.device)
        self.among = self._gram.index_select(0, rows).index_select(1, rows)


@torch.no_grad()
def row_products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a b^T (n, m) for wide a (n, D) and b (m, D), summed in float64."""
    total = torch.zeros((len(a), len(b)), dtype=torch.float64, device=a.device)
    for start in range(0, a.shape[1], _COLUMNS):
        block = slice(start, start + _COLUMNS)
        total += a[:, block].double() @ b[:, block].double().t()
    return total.float()


@torch.no_grad()
def outputs_of(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """F W^T (n, O) for features (n, D) and a weight (O, D)."""
    return features @ weight.t()
