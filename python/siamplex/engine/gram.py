"""InnerProduct over a finite table of inputs, without touching its wide weight.

With inputs from N fixed rows F (N, D), momentum and L2 decay only ever add multiples of those rows
to the weight W and its velocity V, so both stay

    W = c W0 + e V0 + A^T F        V = c' W0 + e' V0 + A'^T F

with scalars c, e and small A (N, num_output).  Outputs need F only through Z0 = F W0^T,
Y0 = F V0^T and the Gram matrix K = F F^T, all small.  The same numbers as the direct form, up to
rounding; K and the sums behind a snapshot are accumulated in float64 blocks.

Rows of A are kept for those M images alone that ever sent a gradient back: what is only tested has none.
A' is kept divided by a scale, so that momentum costs a number and not a pass over it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch

from siamplex.engine.feature_table import FeatureTable
from siamplex.engine.net import Parameter
from siamplex.engine.products import times_transposed

Joined = Callable[[torch.Tensor], torch.Tensor]
_COLUMNS = 8192  # width of the float64 blocks
_LEAST_SCALE = 1e-3  # of A', before it is multiplied out
_LEAST_MOMENTUM = 0.5  # below, that would be at every few iterations
_AS_IS = nullcontext()  # entering autocast only to find it off costs more than a small product


class _Outputs(torch.autograd.Function):
    """z (B, O) for rows (B,) of the table; its backward adds dL/dz to the rows' gradient."""

    @staticmethod
    def forward(ctx: Any, anchor: torch.Tensor, gram: GramWeight, rows: torch.Tensor) -> torch.Tensor:
        ctx.gram, ctx.rows = gram, rows
        return gram.outputs(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ctx.gram.add_gradient(ctx.rows, grads[0])
        return None, None, None


class GramWeight:
    """The weight (O, D) of InnerProduct layers over a FeatureTable, in the form above.

    ``parameter.tensor`` holds W0 and is brought up to date by :meth:`settle` alone.
    """

    def __init__(self, parameter: Parameter, table: FeatureTable, velocity: torch.Tensor | None) -> None:
        self.parameter, self.table = parameter, table
        self._velocity = velocity  # V0, None for zero
        self._c, self._e, self._cv, self._ev = 1.0, 0.0, 0.0, 1.0
        out = parameter.tensor.shape[0]
        empty = torch.empty((0, out), device=parameter.tensor.device)
        self._z0, self._y0 = empty, empty.clone()  # (N, O)
        self._moved = torch.empty(0, dtype=torch.int64, device=empty.device)  # (M,) rows of the table
        self._place = self._moved.clone()  # (N,) where a row of the table is among them, -1 where it is not
        self._a, self._av, self._scale = empty.clone(), empty.clone(), 1.0  # (M, O); A' = scale av
        self._gradients: list[tuple[torch.Tensor, torch.Tensor]] = []  # rows (B,) and dL/dz (B, O), until the update
        self._gram = torch.empty((0, 0), device=empty.device)  # (N, N)
        self._columns = self._gram  # (N, M)
        # gives autograd a reason to come by
        self.anchor = torch.zeros((), device=empty.device, requires_grad=True)
        table.on_growth(self._grow)

    # --- the table grows

    @torch.no_grad()
    def _grow(self, first: int, last: int) -> None:
        features = self.table.features
        new = features[first:last]
        count = last - first
        old, self._gram = self._gram, self._gram.new_empty((last, last))
        self._gram[:first, :first] = old
        cross = _products(new, features)
        self._gram[first:last] = cross
        self._gram[:first, first:last] = cross[:, :first].t()
        self._place = torch.cat([self._place, self._place.new_full((count,), -1)])
        self._columns = self._gram.index_select(1, self._moved)
        weight = self.parameter.tensor.detach()
        self._z0 = torch.cat([self._z0, new @ weight.t()])
        if self._velocity is not None:
            self._y0 = torch.cat([self._y0, new @ self._velocity.t()])

    def _places(self, rows: torch.Tensor) -> torch.Tensor:
        """Where ``rows`` (B,) of the table are in A; those not met before are added."""
        places = self._place.index_select(0, rows)
        if len(self._moved) < len(self.table) and bool(places.min() < 0):
            new = list(dict.fromkeys(rows[places < 0].tolist()))  # in the order met
            self._move(torch.cat([self._moved, rows.new_tensor(new)]))
            zeros = self._a.new_zeros((len(new), self._a.shape[1]))
            self._a, self._av = torch.cat([self._a, zeros]), torch.cat([self._av, zeros])
            places = self._place.index_select(0, rows)
        return places

    def _move(self, moved: torch.Tensor) -> None:
        """Let the rows of A be those of ``moved`` (M,)."""
        self._moved = moved
        self._place.fill_(-1)
        self._place[moved] = torch.arange(len(moved), device=moved.device)
        self._columns = self._gram.index_select(1, moved)

    # --- one iteration

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """F[rows] W^T (B, O), differentiable."""
        if not torch.is_grad_enabled():
            return self.outputs(rows)
        result: torch.Tensor = _Outputs.apply(self.anchor, self, rows)
        return result

    @torch.no_grad()
    def outputs(self, rows: torch.Tensor) -> torch.Tensor:
        """F[rows] W^T (B, O)."""
        z0, gram = self._z0.index_select(0, rows), self._columns.index_select(0, rows)
        # the Gram form needs its precision
        single = torch.autocast(z0.device.type, enabled=False) if torch.is_autocast_enabled(z0.device.type) else _AS_IS
        with single:
            z = times_transposed(gram, self._a.t()).add_(z0, alpha=self._c)
        if self._velocity is not None and self._e:
            z.add_(self._y0.index_select(0, rows), alpha=self._e)
        return z

    def add_gradient(self, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Keep dL/dz (B, O) of some rows until the update."""
        self._gradients.append((rows, gradient.float()))

    @torch.no_grad()
    def update(self, rate: float, momentum: float, decay: float, share: float, joined: Joined | None = None) -> None:
        """Caffe's SGD step on (c, e, A): rate with lr_mult, decay with decay_mult, share 1 / iter_size.

        ``joined`` brings together what several processes have.
        """
        if momentum >= _LEAST_MOMENTUM:
            self._scale *= momentum
        else:
            self._av.mul_(momentum)
        if self._scale < _LEAST_SCALE:
            self._av.mul_(self._scale)
            self._scale = 1.0
        if decay:
            self._av.add_(self._a, alpha=rate * decay / self._scale)
        for rows, gradient in self._gradients:
            if joined:
                rows, gradient = joined(rows), joined(gradient)
            places = self._places(rows)
            self._av.index_add_(0, places, gradient, alpha=rate * share / self._scale)
        self._gradients.clear()
        self._a.sub_(self._av, alpha=self._scale)
        self._cv = momentum * self._cv + rate * decay * self._c
        self._ev = momentum * self._ev + rate * decay * self._e
        self._c -= self._cv
        self._e -= self._ev

    # --- back to the wide form

    @torch.no_grad()
    def settle(self) -> None:
        """Write W into the parameter and start anew from there: W0 = W, V0 = V, A = 0."""
        weight = self.parameter.tensor.detach()
        untouched = self._c == 1 and not self._e and not self._cv and self._ev == 1 and not bool(self._av.any())
        if untouched and not bool(self._a.any()):
            self._forget()
            return
        velocity = self._velocity if self._velocity is not None else torch.zeros_like(weight)
        features, a, av = self.table.features, self._a.t().double(), self._av.t().double() * self._scale
        for start in range(0, weight.shape[1], _COLUMNS):
            block = slice(start, start + _COLUMNS)
            rows = features[:, block].index_select(0, self._moved).double()
            w, v = weight[:, block].double(), velocity[:, block].double()
            weight[:, block] = (self._c * w + self._e * v + a @ rows).float()
            velocity[:, block] = (self._cv * w + self._ev * v + av @ rows).float()
        self._velocity = velocity
        self._c, self._e, self._cv, self._ev = 1.0, 0.0, 0.0, 1.0
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        """Begin A anew, without rows, as a run that is resumed from here does."""
        self._a, self._av, self._scale = self._a[:0].clone(), self._av[:0].clone(), 1.0
        self._move(self._moved[:0])

    @torch.no_grad()
    def refresh(self) -> None:
        """Compute Z0 and Y0 of all rows at once."""
        if len(self.table):
            self._z0 = self.table.features @ self.parameter.tensor.detach().t()
            if self._velocity is not None:
                self._y0 = self.table.features @ self._velocity.t()

    def state(self) -> dict[str, torch.Tensor]:
        """All that :meth:`restore` needs to go on bit for bit from here, unsettled."""
        arrays = {
            "factors": torch.tensor([self._c, self._e, self._cv, self._ev, self._scale], dtype=torch.float64),
            "moved": self._moved, "a": self._a, "av": self._av, "z0": self._z0, "y0": self._y0,
            "w0": self.parameter.tensor.detach(),
        }  # fmt: skip
        return arrays if self._velocity is None else {**arrays, "v0": self._velocity}

    @torch.no_grad()
    def restore(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Put a :meth:`state` back.  Raises ValueError where it is not one of this weight over these rows."""
        wide = tuple(self.parameter.tensor.shape)
        rows, known = (len(self.table), wide[0]), arrays["moved"].tolist()
        if len(set(known)) != len(known) or any(row not in range(rows[0]) for row in known):
            raise ValueError("rows that are not those of a table")
        some = (len(known), wide[0])
        shapes = {
            "factors": (5,), "moved": (len(known),), "a": some, "av": some, "z0": rows, "y0": (0, wide[0]), "w0": wide
        }  # fmt: skip
        if "v0" in arrays:
            shapes |= {"y0": rows, "v0": wide}
        found = {name: tuple(tensor.shape) for name, tensor in arrays.items()}
        if found != shapes:
            raise ValueError(f"arrays of shapes {found}")
        device = self.parameter.tensor.device
        self._c, self._e, self._cv, self._ev, self._scale = (float(x) for x in arrays["factors"].tolist())
        self._move(arrays["moved"].to(device))
        self._a, self._av, self._z0, self._y0 = (arrays[name].to(device) for name in ("a", "av", "z0", "y0"))
        self.parameter.tensor.copy_(arrays["w0"])
        self._velocity = arrays["v0"].to(device) if "v0" in arrays else None

    @property
    def velocity(self) -> torch.Tensor | None:
        """V as of the last :meth:`settle`; None for zero."""
        return self._velocity


@torch.no_grad()
def _products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a b^T (n, m) for wide a (n, D) and b (m, D), summed in float64."""
    total = torch.zeros((len(a), len(b)), dtype=torch.float64, device=a.device)
    for start in range(0, a.shape[1], _COLUMNS):
        block = slice(start, start + _COLUMNS)
        total += a[:, block].double() @ b[:, block].double().t()
    return total.float()
