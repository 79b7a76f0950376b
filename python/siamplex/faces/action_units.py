"""The six emotions as facial action units (FACS)."""

from __future__ import annotations

from collections.abc import Mapping

Units = dict[int, float]

# prototypes of the six emotions, mouth closed: action unit -> intensity, 0 none to 1 full
_CLOSED: Mapping[str, Units] = {
    "AN": {4: 1.0, 5: 0.45, 7: 0.75, 23: 0.8, 24: 0.9, 17: 0.3},
    "DI": {9: 1.0, 10: 0.55, 15: 0.35, 17: 0.7, 4: 0.45, 6: 0.3, 7: 0.5},
    "FE": {1: 1.0, 2: 0.55, 4: 0.5, 5: 0.95, 20: 0.85, 7: 0.15},
    "HA": {6: 0.85, 12: 0.85},
    "SA": {1: 1.0, 4: 0.55, 15: 0.95, 17: 0.6, 7: 0.25, 43: 0.3},
    "SP": {1: 0.95, 2: 1.0, 5: 0.9, 26: 0.2},
}

# what an open or exuberant mouth adds or replaces
_OPEN: Mapping[str, Units] = {
    "AN": {24: 0.0, 23: 0.5, 25: 0.8, 10: 0.55, 16: 0.75, 17: 0.0, 26: 0.25, 22: 0.5},
    "DI": {10: 1.0, 16: 0.5, 25: 0.7, 17: 0.0, 15: 0.1, 26: 0.25},
    "FE": {25: 0.9, 26: 0.45, 16: 0.4},
    "HA": {25: 0.9, 12: 1.0, 26: 0.1},
    "SA": {25: 0.55, 17: 0.15, 26: 0.15, 15: 1.0},
    "SP": {25: 1.0, 26: 0.6, 27: 0.75},
}
_EXUBERANT: Mapping[str, Units] = {
    "HA": {25: 1.0, 26: 0.6, 12: 1.15, 6: 1.1, 1: 0.3, 2: 0.3},
    "AN": {25: 1.0, 26: 0.5, 16: 1.0, 10: 0.8, 4: 1.15},
}


def prototype(emotion: str, variant: str) -> Units:
    """Action units of an emotion (``"FE"``) and a variant (``"C"``, ``"O"``, ``"X"``)."""
    units = dict(_CLOSED[emotion])
    if variant in "OX":
        units.update(_OPEN[emotion])
    if variant == "X":
        units.update(_EXUBERANT.get(emotion, {}))
    return {unit: strength for unit, strength in units.items() if strength > 0}
