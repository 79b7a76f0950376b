"""One expression as it is shown once: the emotion, how strongly, with what else in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from siamplex.emotions import EMOTIONS
from siamplex.faces.action_units import Units, prototype
from siamplex.faces.expression_style import ExpressionStyle

_MOST = 1.3  # no action unit goes beyond this
INTENSITY = (0.72, 0.3)  # median and log deviation
SPREAD = 0.25
MISSING = 0.12
BLEND = 1.2
POWER = 2.0
TAKES = 0.4
BLEND_UNITS = 0.5


@dataclass(frozen=True)
class Expression:
    """Action units shown, intensity 0 (none) to 1.3, and how they lean: -1 left only, 1 right only."""

    units: Units
    lean: Units = field(default_factory=dict)

    def side(self, side: int) -> Units:
        """The units as one half of the face shows them: ``side`` -1 is left in the image, 1 right."""
        return {unit: max(0.0, x * (1 + side * self.lean.get(unit, 0.0))) for unit, x in self.units.items()}


def enact(emotion: str, variant: str, style: ExpressionStyle, stream: np.random.Generator) -> Expression:
    """``emotion`` (``"FE"``) with mouth ``variant`` (``"C"``, ``"O"``, ``"X"``) as an actor shows it once.

    Intensity differs from one time to the next, as does each unit; now and then one stays out.  Some
    action units of another emotion, any of the five, may be mixed in.  What the face shows at rest
    is added.
    """
    median, deviation = INTENSITY
    intensity = median * float(np.exp(stream.normal(0, deviation)))
    others = [e for e in sorted(EMOTIONS) if e != emotion]
    other = others[int(stream.integers(len(others)))]
    share = BLEND * float(stream.random()) ** POWER
    shown = dict(style.resting)
    lean = dict(style.lean)
    for parts, factor, chance in (
        (prototype(emotion, variant), 1.0 - TAKES * share, 1 - MISSING),
        (prototype(other, variant), share, BLEND_UNITS),
    ):
        for unit, strength in sorted(parts.items()):
            moment = float(np.exp(stream.normal(0, SPREAD)))
            present = stream.random() < chance
            if present:
                shown[unit] = shown.get(unit, 0.0) + intensity * factor * strength * moment * style.habits.get(unit, 1.0)
    for unit in sorted(shown):
        lean[unit] = lean.get(unit, 0.0) + float(stream.normal(0, 0.08))
    return Expression({u: float(np.clip(x, 0.0, _MOST)) for u, x in sorted(shown.items())}, lean)
