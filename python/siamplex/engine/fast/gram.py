"""InnerProduct over a finite table of inputs, without touching its wide weight.

With inputs from N fixed rows F (N, D), momentum and L2 decay only ever add multiples of those rows to the
weight W and its velocity V.  Four numbers then say how all of them went on, and what is left is added up where
a gradient fell:

    (R, V) = P (r, v)        (r, v) = B (W0, V0) + (A, A')^T F        R = W - m / (1 - m) V

with momentum m, 2 x 2 matrices P and B, and small A, A' (N, num_output).  R is where W would come to rest were no
gradient to come any more: momentum and decay mix R and V so little that their terms never cancel, as those of W
and V would.  Outputs need r and v only through their products with F, and a gradient changes those by the Gram
matrix K = F F^T.  The same numbers as the direct form, up to rounding; K and the sums behind a snapshot are
accumulated in float64 blocks.

Only rows that gradients fall on have anything in A, and only they are needed from one iteration to the next: r and v
are kept for the rows trained on.  The others, validation images for instance, are computed when a test asks for them.

Behind a ReLU a unit that none of the rows trained on wakes has no gradient, and only P moves it.  Now and then such
units are looked for, and left alone until the next time, under a bound that is checked in every iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from siamplex.engine.fast.feature_table import FeatureTable
from siamplex.engine.fast.gram_arrays import GramArrays, Heights, Matrix, merged
from siamplex.engine.fast.products import among_zeros
from siamplex.engine.net.net import Parameter

Joined = Callable[[torch.Tensor], torch.Tensor]
Rows = Callable[[], torch.Tensor]
_COLUMNS = 8192  # width of the float64 blocks
_LEAST_SCALE = 1e-3  # of v, before P is multiplied out
_SLACK = 1e-3  # of a unit's largest output, that it must be below zero to be left alone
_WORTH_IT = 0.8  # of all units, up to which it is worth picking out those awake
_LOOK_AFTER, _AT_LAST = 64, 256  # iterations until units to leave alone are looked for, at first and in the end


class _Outputs(torch.autograd.Function):
    """z (B, O) or (B, units) for rows (B,) and a bias (O,); its backward adds dL/dz to the rows' gradient."""

    @staticmethod
    def forward(
        ctx: Any, anchor: torch.Tensor, gram: GramWeight, rows: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        places = gram.places(rows)  # may wake all units
        ctx.gram, ctx.rows, ctx.units = gram, rows, gram.units
        return gram.awake_outputs(places, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ctx.gram.add_gradient(ctx.rows, grads[0])
        bias = among_zeros(grads[0].sum(0), ctx.units, ctx.gram.width) if ctx.needs_input_grad[3] else None
        return None, None, None, bias


class _Sleep(NamedTuple):
    """Units left alone: the most they gave for a row trained on, the most they had either way, what stands before P."""

    units: npt.NDArray[np.int64]
    top: npt.NDArray[np.float32]
    reach: npt.NDArray[np.float32]
    p: Matrix


_NOBODY = _Sleep(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32), np.eye(2))


class GramWeight:
    """The weight (O, D) of InnerProduct layers over a FeatureTable, in the form above, under momentum below 1.

    ``parameter.tensor`` holds W0 and is brought up to date by :meth:`settle` alone.
    """

    def __init__(
        self, parameter: Parameter, table: FeatureTable, velocity: torch.Tensor | None, momentum: float
    ) -> None:
        self.parameter, self.table = parameter, table
        self.width = int(parameter.tensor.shape[0])
        self._velocity = velocity  # V0, None for zero
        self._momentum, self._lag = momentum, momentum / (1 - momentum)
        self._p, self._b = np.eye(2), self._from_start()
        device = parameter.tensor.device
        # of all units, and of those that are awake: until all are again, what the first ones say of those stands
        # still, and what they say of the others is to be multiplied by P with _sleep.p before it
        self._all = self._awake = GramArrays.empty(self.width, device)
        self.units: torch.Tensor | None = None  # those awake, None for all
        self._sleep = _NOBODY
        self._look_in, self._look_after = _LOOK_AFTER, _LOOK_AFTER
        self._gradients: list[tuple[torch.Tensor, torch.Tensor]] = []  # rows (B,) and dL/dz, until the update
        self._gram = torch.empty((0, 0), device=device)  # (N, N)
        self._base = torch.empty((1 if velocity is None else 2, 0, self.width), device=device)  # F W0^T, F V0^T
        # the rows trained on (M,), in the order of the arrays; their place there by row (N,), -1 for others
        self._trained = torch.empty(0, dtype=torch.int64, device=device)
        self._place = torch.empty(0, dtype=torch.int64, device=device)
        self._among = self._gram  # (M, M), the Gram matrix of the rows trained on
        self._scratch = self._gram
        self._others: torch.Tensor | None = None  # (N, O) what W gives for rows not trained on, until it moves
        self.coming: Rows | None = None  # rows that training will need, at least those of the batch at hand
        # gives autograd a reason to come by
        self.anchor = torch.zeros((), device=device, requires_grad=True)
        table.on_growth(self._grow)

    def _from_start(self) -> Matrix:
        """B of a form that has gone nowhere yet."""
        return np.array([[1.0, -self._lag], [0.0, 1.0]])

    # --- rows of the table

    @torch.no_grad()
    def _grow(self, first: int, last: int) -> None:
        features = self.table.features
        new = features[first:last]
        old, self._gram = self._gram, self._gram.new_empty((last, last))
        self._gram[:first, :first] = old
        cross = _products(new, features)
        self._gram[first:last] = cross
        self._gram[:first, first:last] = cross[:, :first].t()
        self._base = torch.cat([self._base, self._of_start(new)], dim=1)
        self._place = torch.cat([self._place, self._place.new_full((last - first,), -1)])
        self._others = None

    def _of_start(self, features: torch.Tensor) -> torch.Tensor:
        """What W0, and V0 unless it is zero, give for features (n, D): (1 or 2, n, O)."""
        weights = [self.parameter.tensor.detach()] + ([] if self._velocity is None else [self._velocity])
        return torch.stack([features @ weight.t() for weight in weights])

    def _combined(self, rows: torch.Tensor, of_w: float, of_v: float) -> torch.Tensor:
        """of_w F[rows] W0^T + of_v F[rows] V0^T (n, O)."""
        z = self._base[0].index_select(0, rows).mul_(of_w)
        return z if len(self._base) == 1 else z.add_(self._base[1].index_select(0, rows), alpha=of_v)

    @property
    def trained(self) -> torch.Tensor:
        """Rows (M,) of the table that have been trained on since the last :meth:`settle`."""
        return self._trained

    def places(self, rows: torch.Tensor) -> torch.Tensor:
        """Where rows (B,) of the table stand among those trained on (B,); new ones are taken in."""
        for coming in (self.coming, lambda: rows):
            places = self._place.index_select(0, rows)
            if not bool((places < 0).any()):
                return places
            if coming:
                self._take_in(coming())
        return self._place.index_select(0, rows)

    @torch.no_grad()
    def _take_in(self, rows: torch.Tensor) -> None:
        new = torch.unique(rows)
        new = new[self._place.index_select(0, new) < 0]
        if not len(new):
            return
        self._start_anew()
        (rw, rv), (vw, vv) = self._b.tolist()
        products = torch.stack([self._combined(new, rw, rv), self._combined(new, vw, vv)])
        known = self._gram.index_select(0, new).index_select(1, self._trained)
        self._all = self._awake = self._all.with_rows(products, known)
        self._set_trained(torch.cat([self._trained, new]))

    def _set_trained(self, rows: torch.Tensor) -> None:
        """Let these be the rows trained on; the arrays must be theirs."""
        self._trained = rows
        self._place.fill_(-1)[rows] = torch.arange(len(rows), device=rows.device)
        self._among = self._gram.index_select(0, rows).index_select(1, rows)
        self._others = None

    # --- units that no image wakes

    def _wake(self) -> None:
        """Let all units be awake."""
        if self.units is None:
            return
        units, self.units = self.units, None
        self._all.multiply(self._sleep.p)
        self._all.put(units, self._awake)
        self._awake, self._sleep = self._all, _NOBODY
        self._gradients = [(rows, among_zeros(g, units, self.width)) for rows, g in self._gradients]

    def _start_anew(self) -> None:
        """Wake all units, as before anything was seen of them."""
        self._wake()
        self._look_in, self._look_after = _LOOK_AFTER, _LOOK_AFTER

    def _leave_alone(self, bias: torch.Tensor | None) -> None:
        """Look for units that can be left alone behind a ReLU."""
        self._wake()
        self._multiply_out()
        self._look_after = min(2 * self._look_after, _AT_LAST)
        self._look_in = self._look_after
        top, reach = self._all.heights(self._lag)
        height = top + _SLACK * reach + (bias.detach().numpy() if bias is not None else 0)
        units = np.flatnonzero(~(height < 0))
        if len(units) <= _WORTH_IT * self.width:
            self._pick(torch.from_numpy(units), (top, reach), np.eye(2))

    def _pick(self, units: torch.Tensor, heights: Heights, p: Matrix) -> None:
        """Let only ``units`` be awake, P being that times ``p`` for the others."""
        top, reach = heights
        others = np.ones(self.width, bool)
        others[units.cpu().numpy()] = False
        self._awake = self._all.of(units)
        self.units, self._sleep = units, _Sleep(np.flatnonzero(others), top[others], reach[others], p)

    def _still_asleep(self, bias: torch.Tensor | None) -> bool:
        """Whether the units left alone are still below zero for every row trained on."""
        if self.units is None:
            return True
        r, v = self._of_weight(self._sleep.p)
        # W is (1 - s) r + s (r + lag v) for s = v / lag from 0 to 1, but for this part of it
        s = v / self._lag if self._lag else 0.0
        beyond = abs(r - 1) + max(0.0, -s, s - 1) + (0.0 if self._lag else abs(v))
        height = self._sleep.top + np.float32(beyond) * self._sleep.reach
        if bias is not None:
            height += bias.detach().numpy()[self._sleep.units]
        return bool((height < 0).all())

    # --- one iteration

    def apply(self, rows: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """F[rows] W^T + bias (B, O), differentiable."""
        if not torch.is_grad_enabled():
            return self.outputs(rows, bias)
        self._wake()
        return self._differentiable(rows, bias)

    def apply_awake(
        self, rows: torch.Tensor, bias: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """For a ReLU to follow: the same of the units that any row trained on wakes (B, units), and which (units,).

        None for all of them.  On the CPU only.
        """
        self.places(rows)  # new ones wake all units
        if self._look_in <= 0 or not self._still_asleep(bias):
            with torch.no_grad():
                self._leave_alone(bias)
        return self._differentiable(rows, bias), self.units

    def _differentiable(self, rows: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        result: torch.Tensor = _Outputs.apply(self.anchor, self, rows, bias)
        return result

    @torch.no_grad()
    def outputs(self, rows: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """F[rows] W^T + bias (B, O), of any rows of the table."""
        places = self._place.index_select(0, rows)
        new = (places < 0).nonzero().view(-1)
        if len(new) == len(rows):
            z = self._of_others().index_select(0, rows)
        else:
            known = places.clamp(min=0)
            z = self._all.outputs(known, *self._of_weight(self._sleep.p))
            if self.units is not None:
                z.index_copy_(1, self.units, self.awake_outputs(known, None))
            if len(new):
                z.index_copy_(0, new, self._of_others().index_select(0, rows.index_select(0, new)))
        return z if bias is None else z.add_(bias)

    def _of_others(self) -> torch.Tensor:
        """F W^T (N, O) of rows not trained on; of the others nothing that has a meaning."""
        if self._others is None:
            rows = (self._place < 0).nonzero().view(-1)
            r, v = self._of_weight()
            (ww, wv) = (np.array([r, v]) @ self._b).tolist()
            z = self._combined(rows, ww, wv)
            if len(self._trained):
                z += self._gram.index_select(0, rows).index_select(1, self._trained) @ self._span_of_weight()
            self._others = z.new_zeros((len(self._place), self.width)).index_copy_(0, rows, z)
        return self._others

    def _span_of_weight(self) -> torch.Tensor:
        """What of W lies in the span of the rows trained on (M, O)."""
        span = self._all.span(*self._of_weight(self._sleep.p))
        return span if self.units is None else span.index_copy_(1, self.units, self._awake.span(*self._of_weight()))

    def awake_outputs(self, places: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """F W^T + bias (B, units) of the units awake, for rows trained on by their places."""
        z = self._awake.outputs(places, *self._of_weight())
        if bias is not None:
            z.add_(bias if self.units is None else bias.index_select(0, self.units))
        return z

    def _of_weight(self, before: Matrix | None = None) -> tuple[float, float]:
        """What W is made of, of units with P, or with P times ``before``: so much of r, so much of v."""
        p = self._p if before is None else self._p @ before
        (rr, rv), (vr, vv) = p.tolist()
        return rr + self._lag * vr, rv + self._lag * vv

    def add_gradient(self, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Keep dL/dz (B, units awake) of some rows until the update."""
        self._gradients.append((rows, gradient.float()))

    def give_up_gradients(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(dL/dz (B, O), F[rows] (B, D)) of gradients that still await an update, which is then another's to make."""
        self._wake()
        pending = [(gradient, self.table.features.index_select(0, rows)) for rows, gradient in self._gradients]
        self._gradients.clear()
        return pending

    @torch.no_grad()
    def update(self, rate: float, decay: float, share: float, joined: Joined | None = None) -> None:
        """Caffe's SGD step: rate with lr_mult, decay with decay_mult, share 1 / iter_size.

        ``joined`` brings together what several processes have.
        """
        # V' = m V + d W + g and W' = W - V', written for R and V: g the gradient times the rate, d the decay's part
        m, lag, d = self._momentum, self._lag, rate * decay
        self._p = np.array([[1 - d / (1 - m), -d * lag / (1 - m)], [d, m + d * lag]]) @ self._p
        self._others = None
        (rr, rv), (_, vv) = self._p.tolist()
        if min(rr, vv) < _LEAST_SCALE or abs(rv) * (1 - m) > vv:
            self._multiply_out()
        (rr, rv), (vr, vv) = self._p.tolist()
        size = rate * share / (rr * vv - rv * vr)
        to_r, to_v = size * (-vv / (1 - m) - rv), size * (vr / (1 - m) + rr)  # g is so much of r and so much of v
        units = self.units
        for rows, gradient in self._gradients:
            if joined:
                rows, gradient = joined(rows), joined(gradient)
            places = self.places(rows)
            if gradient.shape[1] != self._awake.spans.shape[2]:  # they were new, and woke all units
                gradient = among_zeros(gradient, units, self.width)
            places, gradient = merged(places, gradient)
            if len(places):
                self._awake.add(places, gradient, self._among.index_select(0, places), to_r, to_v, self._room())
        self._gradients.clear()
        self._look_in -= 1

    def _room(self) -> torch.Tensor:
        """Somewhere to write what changes for the units awake, the same from one iteration to the next."""
        if self._scratch.shape != self._awake.products[0].shape:
            self._scratch = torch.empty_like(self._awake.products[0])
        return self._scratch

    def _multiply_out(self) -> None:
        """Let r and v be R and V: P is 1 again."""
        self._awake.multiply(self._p)
        if self.units is not None:
            self._sleep = self._sleep._replace(p=self._p @ self._sleep.p)
        self._b, self._p = self._p @ self._b, np.eye(2)

    # --- back to the wide form

    @torch.no_grad()
    def settle(self) -> None:
        """Write W into the parameter and start anew from there: W0 = W, V0 = V, A = A' = 0."""
        if np.array_equal(self._p, np.eye(2)) and np.array_equal(self._b, self._from_start()):
            return
        self._start_anew()
        weight = self.parameter.tensor.detach()
        velocity = self._velocity if self._velocity is not None else torch.zeros_like(weight)
        ours = np.array([self._of_weight(), self._p[1]])  # W and V of r and v
        (ww, wv), (vw, vv) = (ours @ self._b).tolist()  # W and V of W0 and V0
        moved = self._all.spans.any(dim=0).any(dim=1).nonzero().view(-1)  # what is only tested has nothing in A
        a, av = self._all.spans.index_select(1, moved).transpose(1, 2).double()
        moved = self._trained.index_select(0, moved)
        aw, avw = ((a * r + av * v) for r, v in ours.tolist())
        for start in range(0, weight.shape[1], _COLUMNS):
            block = slice(start, start + _COLUMNS)
            rows = self.table.features[:, block].index_select(0, moved).double()
            w, v = weight[:, block].double(), velocity[:, block].double()
            weight[:, block] = (ww * w + wv * v + aw @ rows).float()
            velocity[:, block] = (vw * w + vv * v + avw @ rows).float()
        self._velocity = velocity
        self._p, self._b = np.eye(2), self._from_start()
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Compute what W0 and V0 give for all rows at once; none has been trained on."""
        if len(self.table):
            self._base = self._of_start(self.table.features)
        self._all = self._awake = GramArrays.empty(self.width, self.parameter.tensor.device)
        self._set_trained(self._trained[:0])

    def copy(self) -> dict[str, torch.Tensor]:
        """The same, copied but for W0 and V0, which no update changes."""
        return {name: array if name in ("w0", "v0") else array.clone() for name, array in self.state().items()}

    def state(self) -> dict[str, torch.Tensor]:
        """All that :meth:`restore` needs to go on bit for bit from here, unsettled."""
        arrays = {
            "factors": torch.from_numpy(np.stack([self._p, self._b, self._sleep.p])),
            "look": torch.tensor([self._look_in, self._look_after]), "w0": self.parameter.tensor.detach(),
            "base": self._base, "trained": self._trained, **self._all._asdict(),
        }  # fmt: skip
        if self._velocity is not None:
            arrays["v0"] = self._velocity
        if self.units is not None:
            arrays |= {"units": self.units, **{f"awake_{k}": x for k, x in self._awake._asdict().items()}}
        return arrays

    @torch.no_grad()
    def restore(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Put a :meth:`state` back.  Raises ValueError where it is not one of this weight over these rows."""
        wide, units = tuple(self.parameter.tensor.shape), arrays.get("units")
        trained = arrays.get("trained", torch.empty(0))
        shapes = {"factors": (3, 2, 2), "look": (2,), "w0": wide, **_shapes(len(trained), self.width)}
        shapes |= {"trained": (len(trained),), "base": (2 if "v0" in arrays else 1, len(self.table), self.width)}
        if "v0" in arrays:
            shapes["v0"] = wide
        if units is not None:
            shapes |= {"units": (units.numel(),), **_shapes(len(trained), units.numel(), "awake_")}
        found = {name: tuple(tensor.shape) for name, tensor in arrays.items()}
        if found != shapes:
            raise ValueError(f"arrays of shapes {found}")
        if units is not None and not set(units.tolist()) <= set(range(self.width)):
            raise ValueError("units that are not those of the layer")
        if len(set(trained.tolist())) < len(trained) or not set(trained.tolist()) <= set(range(len(self.table))):
            raise ValueError("rows that are not those of the table")
        device = self.parameter.tensor.device
        self._p, self._b, before = (factors.double().numpy() for factors in arrays["factors"])
        self._all = self._awake = GramArrays(*(arrays[name].to(device) for name in GramArrays._fields))
        self.units, self._sleep = None, _NOBODY
        self.parameter.tensor.copy_(arrays["w0"])
        self._base = arrays["base"].to(device)
        self._set_trained(trained.long().to(device))
        self._velocity = arrays["v0"].to(device) if "v0" in arrays else None
        if units is not None:
            self._pick(units.long().to(device), self._all.heights(self._lag), before)
            self._awake = GramArrays(*(arrays[f"awake_{name}"].to(device) for name in GramArrays._fields))
        self._look_in, self._look_after = (int(n) for n in arrays["look"].tolist())

    @property
    def velocity(self) -> torch.Tensor | None:
        """V as of the last :meth:`settle`; None for zero."""
        return self._velocity


def _shapes(rows: int, units: int, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Of GramArrays, by name."""
    return dict.fromkeys((prefix + name for name in GramArrays._fields), (2, rows, units))


@torch.no_grad()
def _products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a b^T (n, m) for wide a (n, D) and b (m, D), summed in float64."""
    total = torch.zeros((len(a), len(b)), dtype=torch.float64, device=a.device)
    for start in range(0, a.shape[1], _COLUMNS):
        block = slice(start, start + _COLUMNS)
        total += a[:, block].double() @ b[:, block].double().t()
    return total.float()
