"""Which setting moves which outcome: shares of the outcome's variance over the cells.

The model is linear, with a main effect for every value of every setting, seed and fold.  A setting's share is the sum
of squares that it adds to the settings before it, averaged over orders of the settings (Lindeman, Merenda and Gold
1980; Shapley values of R²), so that an unbalanced sample of cells needs no chosen order.  As in epsilon squared, the
share that a setting of as many values takes up by chance is subtracted: shares of settings without effect lie about 0.
The remainder is interactions and noise.

Cells that were read from one training are not independent.  What chance takes up is therefore judged as in a split-plot
design: for settings that differ between trainings by the trainings' own residuals, for settings that differ within a
training (``iterations``, ``stop``) by what is left of the cells' residuals there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np
import numpy.typing as npt
import pandas as pd

from siamplex.multiverse.by_value import differs_within
from siamplex.multiverse.draws import Weights
from siamplex.multiverse.store import PAPER
from siamplex.randomness import numpy_stream
from siamplex.similarity.compare import interval

_EXACT = 4  # settings up to which every order is tried
_ORDERS = 32  # orders drawn, each with its reverse, of more settings
_TINY = 1e-9

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """Shares of one outcome's variance over ``cells`` cells, by setting, with ``seed`` and ``fold`` among them.

    ``intervals`` (95 %) resample subjects, if the outcome depends on them, and seeds, if there are two or more; None
    where there is nothing to resample.  Resampling adds noise, which lowers all shares: the draws are shifted so that
    their mean is the share.  ``left`` is what no main effect explains.
    """

    cells: int
    shares: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    left: float


def factors_of(table: pd.DataFrame, settings: Sequence[str]) -> dict[str, npt.NDArray[np.intp]]:
    """Of each setting, and of ``seed`` and ``fold``, that differ between the cells: the number of its value (N,)."""
    found = {}
    for name in (*settings, "seed", "fold"):
        codes = pd.factorize(table[name], use_na_sentinel=False)[0]
        if len(set(codes.tolist())) > 1:
            found[name] = np.asarray(codes, np.intp)
    return found


def variance_shares(
    table: pd.DataFrame, outcome: str, settings: Sequence[str], drawn: Sequence[Floats | None]
) -> Shares | None:
    """Shares of an outcome of the paper's cells that have it.

    ``drawn`` holds for each row of ``table`` the outcome's draws (B,) over subjects, or None; the draws use the same
    subjects' weights in all rows.  None where nothing differs between cells, or where there are too few trainings for
    the settings' values.
    """
    keep = np.flatnonzero(((table["control"] == PAPER) & table[outcome].notna()).to_numpy(bool)).tolist()
    cells = table.iloc[keep]
    values = cells[outcome].to_numpy(np.float64)
    factors = factors_of(cells, settings)
    if not factors or np.ptp(values) < _TINY:
        return None
    trainings = np.asarray(pd.factorize(cells["training"])[0], np.intp)
    once = decompose(factors, values[None], np.ones((1, len(values))), trainings)
    if once is None:
        return None
    rows = [drawn[i] for i in keep]
    resampled = _resampled(cells, values, rows)
    spread = decompose(factors, *resampled, trainings) if resampled else None
    shares = dict(zip(factors, once[0][0].tolist(), strict=True))
    intervals = {
        name: interval(np.minimum(share + spread[0][:, i] - spread[0][:, i].mean(), 1)) if spread else None
        for i, (name, share) in enumerate(shares.items())
    }
    return Shares(len(values), shares, intervals, float(once[1][0]))


def _resampled(cells: pd.DataFrame, values: Floats, rows: Sequence[Floats | None]) -> tuple[Floats, Floats] | None:
    """Values and weights (B, N) of resampled subjects and seeds; None where there is nothing to resample."""
    drawn = [row for row in rows if row is not None]
    seeds = [str(s) for s in cells["seed"]]
    by_seed = Weights.draw(seeds, "seeds") if len(set(seeds)) > 1 else None
    if by_seed is None and len(drawn) < len(rows):
        return None
    count = len(drawn[0]) if drawn else len(by_seed.values) if by_seed else 0
    table = np.tile(values, (count, 1))
    if len(drawn) == len(rows):
        table = np.stack(drawn, axis=1)
    weights = by_seed.of(seeds)[:count] if by_seed else np.ones_like(table)
    return table, weights


def decompose(
    factors: Mapping[str, npt.NDArray[np.intp]], values: Floats, weights: Floats, trainings: npt.NDArray[np.intp]
) -> tuple[Floats, Floats] | None:
    """Shares (B, K) of K factors and what is left (B,), of values (B, N) whose cells weigh as ``weights`` (B, N).

    ``trainings`` (N,) numbers from 0 the training of each cell.  The chance correction uses effective numbers of cells
    and trainings, so that unequal weights do not count as more of them.  None where no degree of freedom remains.
    """
    blocks = [_indicators(codes) for codes in factors.values()]
    design = np.hstack([np.ones((values.shape[1], 1)), *blocks])
    width = design.shape[1]
    joined = np.concatenate([np.broadcast_to(design, (len(values), *design.shape)), values[..., None]], axis=2)
    # about the weighted mean, for the sake of the last digits
    joined[..., -1] -= ((weights * values).sum(axis=1) / weights.sum(axis=1))[:, None]
    products = np.einsum("bni,bn,bnj->bij", joined, weights, joined, optimize=True)
    total = products[:, -1, -1].copy()
    ends = np.cumsum([1, *(block.shape[1] for block in blocks)])
    places = [range(start, end) for start, end in pairwise(ends.tolist())]
    sums, freedoms = np.zeros((len(values), len(blocks))), np.zeros((len(values), len(blocks)))
    left = total
    orders = _orders(len(blocks))
    for order in orders:
        state = products.copy()
        _sweep(state, 0, products)
        before = state[:, -1, -1].copy()
        for k in order:
            for column in places[k]:
                freedoms[:, k] += _sweep(state, column, products)
            sums[:, k] += before - state[:, -1, -1]
            before = state[:, -1, -1].copy()
        left = before
    sums, freedoms = sums / len(orders), freedoms / len(orders)
    inside = np.array([differs_within(codes, trainings) for codes in factors.values()])
    taken = _Noise.of(design, products, joined[..., -1], weights, trainings)
    if len(values) == 1 and taken.free_between(freedoms, inside)[0] < 1 - _TINY:
        return None
    safe = np.where(total > _TINY * max(1.0, width), total, np.inf)
    shares = (sums - freedoms * taken.by_chance(freedoms, inside, left)) / safe[:, None]
    return shares, 1 - shares.sum(axis=1)


@dataclass(frozen=True)
class _Noise:
    """What is needed to tell how much chance takes up for each degree of freedom, each (B,).

    ``sums`` are weights' sums, ``cell`` and ``training`` the weight of one effective cell and training, ``inner`` the
    degrees of freedom that the trainings' means take from the cells, by weight; ``between`` is the residuals' sum of
    squares between trainings.
    """

    sums: Floats
    cell: Floats
    training: Floats
    inner: Floats
    between: Floats

    @classmethod
    def of(
        cls, design: Floats, products: Floats, centred: Floats, weights: Floats, trainings: npt.NDArray[np.intp]
    ) -> _Noise:
        """Of the model's residuals; ``products`` (B, P + 1, P + 1) are those of the design and ``centred``."""
        members = np.asarray(trainings[:, None] == np.arange(trainings.max() + 1)[None], np.float64)
        sums = weights.sum(axis=1)
        inverse = np.linalg.pinv(products[:, :-1, :-1], rcond=_TINY, hermitian=True)
        fitted = np.einsum("np,bpq,bq->bn", design, inverse, products[:, :-1, -1], optimize=True)
        whole = weights @ members
        between = ((weights * (centred - fitted)) @ members) ** 2 / whole
        inner = sums - (weights**2 @ members / whole).sum(axis=1)
        cell, training = (weights**2).sum(axis=1) / sums, (whole**2).sum(axis=1) / sums
        return cls(sums, cell, training, inner, between.sum(axis=1))

    def free_between(self, freedoms: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
        """Degrees of freedom left between trainings, by weight (B,)."""
        return self.sums - (1 + freedoms[:, ~inside].sum(axis=1)) * self.training

    def by_chance(self, freedoms: Floats, inside: npt.NDArray[np.bool_], left: Floats) -> Floats:
        """Sums of squares that a degree of freedom of each setting takes up by chance (B, K)."""
        free = self.free_between(freedoms, inside), self.inner - freedoms[:, inside].sum(axis=1) * self.cell
        sums = self.between, left - self.between
        noise = [
            np.where(f > _TINY, np.maximum(s, 0) / np.where(f > _TINY, f, 1), 0)
            for s, f in zip(sums, free, strict=True)
        ]
        units = self.training * noise[0], self.cell * noise[1]
        return np.where(inside[None], units[1][:, None], units[0][:, None])


def percent(share: float) -> str:
    """A share in whole per cent; never -0."""
    return f"{round(100 * share)}%"


def _indicators(codes: npt.NDArray[np.intp]) -> Floats:
    """Columns for all values but the first."""
    return np.asarray(codes[:, None] == np.unique(codes)[None, 1:], np.float64)


def _orders(count: int) -> list[tuple[int, ...]]:
    if count <= _EXACT:
        return list(permutations(range(count)))
    stream = numpy_stream(0, "multiverse", "orders", count)
    drawn = [tuple(stream.permutation(count).tolist()) for _ in range(_ORDERS)]
    return [order for one in drawn for order in (one, one[::-1])]


def _sweep(state: Floats, column: int, products: Floats) -> npt.NDArray[np.bool_]:
    """Take a column of the design out of all that is left, in place (B, P, P); which had anything of their own (B,)."""
    pivot = state[:, column, column].copy()
    own = pivot > _TINY * np.maximum(products[:, column, column], _TINY)
    scale = np.where(own, pivot, 1.0)
    row = state[:, column].copy() * own[:, None]
    state -= row[:, :, None] * row[:, None, :] / scale[:, None, None]
    return np.asarray(own)
