"""The dual form of an InnerProduct whose inputs come from a finite table: SGD without touching the wide weight.

The inputs are N fixed rows F (N, D).  SGD with momentum m and L2 decay only ever scales and mixes the weight W and its
velocity V, and adds multiples of rows of F to them.  The dual form stores the scaling as 2 x 2 matrices P and B, and
the multiples as small coefficients A, A' (N, num_output):

    (R, V) = P (r, v)        (r, v) = B (W0, V0) + (A, A')^T F        R = W - m / (1 - m) V

R is the weight that momentum alone would converge to if no further gradient came.  The recurrence uses R in place of W
because the terms of W and V would cancel, and those of R and V do not.  Outputs need only F r^T and F v^T; a gradient
changes these through the Gram matrix K = F F^T.  Results equal the direct form up to rounding.  K, and the sums that
materialise the weight, are accumulated in float64 blocks.

A has entries only for rows that had a gradient.  So r and v are kept for the rows trained on; outputs of other rows,
validation images for instance, are computed when a test asks for them.

Before a ReLU, dead units (:mod:`~siamplex.engine.fast.dead_units`) are searched for at intervals and then skipped; a
bound checked in every iteration guards this.  README.md here has the formulas one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from siamplex.engine.fast.dead_units import DeadUnits, Looks, active_units
from siamplex.engine.fast.feature_table import FeatureTable
from siamplex.engine.fast.gram_arrays import GramArrays, Matrix, merged
from siamplex.engine.fast.gram_rows import GramRows
from siamplex.engine.fast.gram_state import ACTIVE, check_state
from siamplex.engine.fast.products import among_zeros
from siamplex.engine.net.kernels import Factors
from siamplex.engine.net.node import Parameter

Joined = Callable[[torch.Tensor], torch.Tensor]
Rows = Callable[[], torch.Tensor]
_COLUMNS = 8192  # width of the float64 blocks
_LEAST_SCALE = 1e-3  # of v, before P is multiplied out


class _Outputs(torch.autograd.Function):
    """z (B, O) or (B, units) for rows (B,) and a bias (O,); its backward adds dL/dz to the rows' gradient."""

    @staticmethod
    def forward(
        ctx: Any, anchor: torch.Tensor, gram: GramWeight, rows: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        places = gram.places(rows)  # may make all units active
        ctx.gram, ctx.rows, ctx.units = gram, rows, gram.units
        return gram.active_outputs(places, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ctx.gram.add_gradient(ctx.rows, grads[0])
        bias = among_zeros(grads[0].sum(0), ctx.units, ctx.gram.width) if ctx.needs_input_grad[3] else None
        return None, None, None, bias


class GramWeight:
    """The weight (O, D) of InnerProduct layers over a FeatureTable, in its dual form; momentum must be below 1.

    ``parameter.tensor`` holds W0; only :meth:`settle` writes the current W into it.
    """

    def __init__(
        self, parameter: Parameter, table: FeatureTable, velocity: torch.Tensor | None, momentum: float
    ) -> None:
        self.parameter, self.table = parameter, table
        self.width = int(parameter.tensor.shape[0])
        self._momentum, self._lag = momentum, momentum / (1 - momentum)
        self._p, self._b = np.eye(2), self._from_start()
        self._rows = GramRows(table, parameter.tensor, velocity)
        device = parameter.tensor.device
        # _all holds all units, _active the active ones.  While some are dead, the active units' columns of _all are
        # stale, and its dead units' columns have the transform P _dead.p still to be applied
        self._all = self._active = GramArrays.empty(self.width, device)
        self.units: torch.Tensor | None = None  # the active ones, None for all
        self._dead, self._looks = DeadUnits(), Looks()
        self._gradients: list[tuple[torch.Tensor, torch.Tensor]] = []  # rows (B,) and dL/dz, until the update
        self._scratch = torch.empty((0, 0), device=device)
        self._others: torch.Tensor | None = None  # (N, O) F W^T of rows not trained on; None once W has changed
        self.coming: Rows | None = None  # rows that training will need, at least those of the current batch
        # an input that asks for a gradient, so that autograd calls backward
        self.anchor = torch.zeros((), device=device, requires_grad=True)
        table.on_growth(self._grow)

    def _from_start(self) -> Matrix:
        """Initial B: no update applied."""
        return np.array([[1.0, -self._lag], [0.0, 1.0]])

    @property
    def velocity(self) -> torch.Tensor | None:
        """V as of the last :meth:`settle`; None for zero."""
        return self._rows.velocity

    @property
    def trained(self) -> torch.Tensor:
        """Rows (M,) of the table that have been trained on since the last :meth:`settle`."""
        return self._rows.trained

    # --- rows of the table

    def _grow(self, first: int, last: int) -> None:
        self._rows.grow(first, last)
        self._others = None

    def places(self, rows: torch.Tensor) -> torch.Tensor:
        """Positions (B,) of table rows (B,) among the rows trained on; rows not trained on yet are added to these."""
        for coming in (self.coming, lambda: rows):
            places = self._rows.place.index_select(0, rows)
            if not bool((places < 0).any()):
                return places
            if coming:
                self._take_in(coming())
        return self._rows.place.index_select(0, rows)

    @torch.no_grad()
    def _take_in(self, rows: torch.Tensor) -> None:
        new = self._rows.not_trained(rows)
        if not len(new):
            return
        self._start_anew()
        (rw, rv), (vw, vv) = self._b.tolist()
        products = torch.stack([self._rows.combined(new, rw, rv), self._rows.combined(new, vw, vv)])
        self._all = self._active = self._all.with_rows(products, self._rows.with_trained(new))
        self._set_trained(torch.cat([self._rows.trained, new]))

    def _set_trained(self, rows: torch.Tensor) -> None:
        self._rows.set_trained(rows)
        self._others = None

    # --- dead units

    def _make_active(self) -> None:
        """Reactivate all units."""
        if self.units is None:
            return
        units, self.units = self.units, None
        self._all.multiply(self._dead.p)
        self._all.put(units, self._active)
        self._active, self._dead = self._all, DeadUnits()
        self._gradients = [(rows, among_zeros(g, units, self.width)) for rows, g in self._gradients]

    def _start_anew(self) -> None:
        """Reactivate all units and reset the schedule by which dead ones are looked for."""
        self._make_active()
        self._looks = Looks()

    def _look_for_dead(self, bias: torch.Tensor | None) -> None:
        """Search for dead units and skip them from now on; valid only where a ReLU follows."""
        self._make_active()
        self._multiply_out()
        self._looks.looked()
        heights = self._all.heights(self._lag)
        units = active_units(heights, bias)
        if units is not None:
            self._pick(units, heights, np.eye(2))

    def _pick(self, units: torch.Tensor, heights: Any, p: Matrix) -> None:
        """Make only ``units`` active; the transform of the others is P times ``p``."""
        self._active = self._all.of(units)
        self.units, self._dead = units, DeadUnits.all_but(units, self.width, heights, p)

    def _still_dead(self, bias: torch.Tensor | None) -> bool:
        """Whether the skipped units are still below zero for every row trained on."""
        return self.units is None or self._dead.still_dead(*self._of_weight(self._dead.p), self._lag, bias)

    # --- one iteration

    def apply(self, rows: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """F[rows] W^T + bias (B, O), differentiable."""
        if not torch.is_grad_enabled():
            return self.outputs(rows, bias)
        self._make_active()
        return self._differentiable(rows, bias)

    def apply_active(
        self, rows: torch.Tensor, bias: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """:meth:`apply` of the active units alone (B, units), and their numbers (units,) or None for all units.

        Valid only where a ReLU follows.  On the CPU only.
        """
        self.places(rows)  # new rows reactivate all units
        if self._looks.left <= 0 or not self._still_dead(bias):
            with torch.no_grad():
                self._look_for_dead(bias)
        return self._differentiable(rows, bias), self.units

    def _differentiable(self, rows: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        result: torch.Tensor = _Outputs.apply(self.anchor, self, rows, bias)
        return result

    @torch.no_grad()
    def outputs(self, rows: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """F[rows] W^T + bias (B, O), for any rows of the table, without a gradient."""
        places = self._rows.place.index_select(0, rows)
        new = (places < 0).nonzero().view(-1)
        if len(new) == len(rows):
            z = self._of_others().index_select(0, rows)
        else:
            known = places.clamp(min=0)
            z = self._all.outputs(known, *self._of_weight(self._dead.p))
            if self.units is not None:
                z.index_copy_(1, self.units, self.active_outputs(known, None))
            if len(new):
                z.index_copy_(0, new, self._of_others().index_select(0, rows.index_select(0, new)))
        return z if bias is None else z.add_(bias)

    def _of_others(self) -> torch.Tensor:
        """F W^T (N, O) of rows not trained on; the entries of the rows trained on are zero and not to be used."""
        if self._others is None:
            rows = (self._rows.place < 0).nonzero().view(-1)
            r, v = self._of_weight()
            (ww, wv) = (np.array([r, v]) @ self._b).tolist()
            z = self._rows.combined(rows, ww, wv)
            if len(self._rows.trained):
                z += self._rows.with_trained(rows) @ self._span_of_weight()
            self._others = z.new_zeros((len(self._rows.place), self.width)).index_copy_(0, rows, z)
        return self._others

    def _span_of_weight(self) -> torch.Tensor:
        """Coefficients (M, O) of W on the rows trained on: W = ... + coefficients^T F[trained]."""
        span = self._all.span(*self._of_weight(self._dead.p))
        return span if self.units is None else span.index_copy_(1, self.units, self._active.span(*self._of_weight()))

    def active_outputs(self, places: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """F W^T + bias (B, units) of the active units, for rows trained on by their places."""
        z = self._active.outputs(places, *self._of_weight())
        if bias is not None:
            z.add_(bias if self.units is None else bias.index_select(0, self.units))
        return z

    def _of_weight(self, before: Matrix | None = None) -> tuple[float, float]:
        """Coefficients (of r, of v) of W for the transform P, or for P times ``before``."""
        p = self._p if before is None else self._p @ before
        (rr, rv), (vr, vv) = p.tolist()
        return rr + self._lag * vr, rv + self._lag * vv

    def add_gradient(self, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Keep dL/dz (B, active units) of rows (B,) until the update."""
        self._gradients.append((rows, gradient.float()))

    def give_up_gradients(self) -> Factors:
        """Pending gradients (dL/dz (B, O), F[rows] (B, D)), handed over when leaving the dual form."""
        self._make_active()
        pending = [(gradient, self.table.features.index_select(0, rows)) for rows, gradient in self._gradients]
        self._gradients.clear()
        return pending

    def drop_gradients(self) -> None:
        """Discard pending gradients."""
        self._gradients.clear()

    @torch.no_grad()
    def update(self, rate: float, decay: float, share: float, joined: Joined | None = None) -> None:
        """Caffe's SGD step: rate with lr_mult, decay with decay_mult, share 1 / iter_size.

        ``joined`` gathers a tensor's rows from all processes of the group.
        """
        # V' = m V + d W + g and W' = W - V' in terms of R and V; g is rate times gradient, d is rate times decay
        m, lag, d = self._momentum, self._lag, rate * decay
        self._p = np.array([[1 - d / (1 - m), -d * lag / (1 - m)], [d, m + d * lag]]) @ self._p
        self._others = None
        (rr, rv), (_, vv) = self._p.tolist()
        if min(rr, vv) < _LEAST_SCALE or abs(rv) * (1 - m) > vv:
            self._multiply_out()
        (rr, rv), (vr, vv) = self._p.tolist()
        size = rate * share / (rr * vv - rv * vr)
        to_r, to_v = size * (-vv / (1 - m) - rv), size * (vr / (1 - m) + rr)  # coefficients of g in r and in v
        units = self.units
        for rows, gradient in self._gradients:
            if joined:
                rows, gradient = joined(rows), joined(gradient)
            places = self.places(rows)
            if gradient.shape[1] != self._active.spans.shape[2]:  # new rows reactivated all units
                gradient = among_zeros(gradient, units, self.width)
            places, gradient = merged(places, gradient)
            if len(places):
                among = self._rows.among.index_select(0, places)
                self._active.add(places, gradient, among, to_r, to_v, self._room())
        self._gradients.clear()
        self._looks.left -= 1

    def _room(self) -> torch.Tensor:
        """A scratch array for the change of the active units' outputs, reused in every iteration."""
        if self._scratch.shape != self._active.products[0].shape:
            self._scratch = torch.empty_like(self._active.products[0])
        return self._scratch

    def _multiply_out(self) -> None:
        """Apply P to r and v and reset it to the identity."""
        self._active.multiply(self._p)
        if self.units is not None:
            self._dead = self._dead.multiplied_out(self._p)
        self._b, self._p = self._p @ self._b, np.eye(2)

    # --- materialise the weight

    @torch.no_grad()
    def settle(self) -> None:
        """Materialise the weight: write W into the parameter and restart with W0 = W, V0 = V, A = A' = 0."""
        if np.array_equal(self._p, np.eye(2)) and np.array_equal(self._b, self._from_start()):
            return
        self._start_anew()
        weight = self.parameter.tensor.detach()
        velocity = self.velocity if self.velocity is not None else torch.zeros_like(weight)
        ours = np.array([self._of_weight(), self._p[1]])  # coefficients of r and v in W and V
        (ww, wv), (vw, vv) = (ours @ self._b).tolist()  # coefficients of W0 and V0 in W and V
        moved = self._all.spans.any(dim=0).any(dim=1).nonzero().view(-1)  # rows that had a gradient
        a, av = self._all.spans.index_select(1, moved).transpose(1, 2).double()
        moved = self._rows.trained.index_select(0, moved)
        aw, avw = ((a * r + av * v) for r, v in ours.tolist())
        for start in range(0, weight.shape[1], _COLUMNS):
            block = slice(start, start + _COLUMNS)
            rows = self.table.features[:, block].index_select(0, moved).double()
            w, v = weight[:, block].double(), velocity[:, block].double()
            weight[:, block] = (ww * w + wv * v + aw @ rows).float()
            velocity[:, block] = (vw * w + vv * v + avw @ rows).float()
        self._p, self._b = np.eye(2), self._from_start()
        self._rows.velocity = velocity
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute F W0^T and F V0^T for all rows; no row counts as trained on afterwards."""
        self._all = self._active = GramArrays.empty(self.width, self.parameter.tensor.device)
        self._rows.start_anew(self._rows.velocity)
        self._others = None

    # --- checkpoint and resume

    def copy(self) -> dict[str, torch.Tensor]:
        """A copy of :meth:`state`; W0 and V0 are not copied, since no update changes them."""
        return {name: array if name in ("w0", "v0") else array.clone() for name, array in self.state().items()}

    def state(self) -> dict[str, torch.Tensor]:
        """The arrays from which :meth:`restore` resumes bit for bit; the weight is not materialised."""
        arrays = {
            "factors": torch.from_numpy(np.stack([self._p, self._b, self._dead.p])),
            "look": torch.tensor([self._looks.left, self._looks.after]), "w0": self.parameter.tensor.detach(),
            "base": self._rows.base, "trained": self._rows.trained, **self._all._asdict(),
        }  # fmt: skip
        if self.velocity is not None:
            arrays["v0"] = self.velocity
        if self.units is not None:
            arrays |= {"units": self.units, **{ACTIVE + k: x for k, x in self._active._asdict().items()}}
        return arrays

    @torch.no_grad()
    def restore(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Restore a :meth:`state`.  Raises ValueError where it is not one of this weight over these rows."""
        check_state(arrays, tuple(self.parameter.tensor.shape), len(self.table))
        device, units = self.parameter.tensor.device, arrays.get("units")
        self._p, self._b, before = (factors.double().numpy() for factors in arrays["factors"])
        self._all = self._active = GramArrays(*(arrays[name].to(device) for name in GramArrays._fields))
        self.units, self._dead = None, DeadUnits()
        if arrays["w0"].data_ptr() != self.parameter.tensor.data_ptr():  # copy() returns the same array
            self.parameter.tensor.copy_(arrays["w0"])
        self._rows.base = arrays["base"].to(device)
        self._set_trained(arrays["trained"].long().to(device))
        self._rows.velocity = arrays["v0"].to(device) if "v0" in arrays else None
        if units is not None:
            self._pick(units.long().to(device), self._all.heights(self._lag), before)
            self._active = GramArrays(*(arrays[ACTIVE + name].to(device) for name in GramArrays._fields))
        self._looks = Looks(*(int(n) for n in arrays["look"].tolist()))
