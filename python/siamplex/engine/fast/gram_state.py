"""The names and shapes that the saved arrays of a dual form must have."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from siamplex.engine.fast.gram_arrays import GramArrays

ACTIVE = "awake_"  # prefix of the active units' arrays in files


def check_state(arrays: Mapping[str, torch.Tensor], wide: tuple[int, ...], rows: int) -> None:
    """Raise ValueError unless ``arrays`` fit a weight of shape ``wide`` (O, D) over ``rows`` rows."""
    width, units, trained = wide[0], arrays.get("units"), arrays.get("trained", torch.empty(0))
    shapes = {"factors": (3, 2, 2), "look": (2,), "w0": wide, **_shapes(len(trained), width)}
    shapes |= {"trained": (len(trained),), "base": (2 if "v0" in arrays else 1, rows, width)}
    if "v0" in arrays:
        shapes["v0"] = wide
    if units is not None:
        shapes |= {"units": (units.numel(),), **_shapes(len(trained), units.numel(), ACTIVE)}
    found = {name: tuple(tensor.shape) for name, tensor in arrays.items()}
    if found != shapes:
        raise ValueError(f"arrays of shapes {found}")
    if units is not None and not set(units.tolist()) <= set(range(width)):
        raise ValueError("units that are not those of the layer")
    if len(set(trained.tolist())) < len(trained) or not set(trained.tolist()) <= set(range(rows)):
        raise ValueError("rows that are not those of the table")


def _shapes(rows: int, units: int, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Shapes of GramArrays, by name."""
    return dict.fromkeys((prefix + name for name in GramArrays._fields), (2, rows, units))
