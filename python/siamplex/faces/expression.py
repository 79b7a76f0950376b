"""One performance of an expression: the emotion, its intensity, and what is mixed into it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from siamplex.corpus.emotions import EMOTIONS
from siamplex.faces.action_units import Units, prototype
from siamplex.faces.expression_style import ExpressionStyle

_MOST = 1.6  # no action unit goes beyond this
_INTENSITY, _INTENSITY_SPREAD = 1.35, 0.2  # of a whole expression: median, log deviation
_UNIT_SPREAD = 0.2  # log deviation of one unit from one time to the next
_MISSING = 0.05  # share of the times that a unit stays out
_BLEND = 0.9  # the most of another emotion, as a share of its prototype
_BLENDED_UNITS = 0.5  # share of that emotion's units that are mixed in


@dataclass(frozen=True)
class Expression:
    """Action units shown, intensity 0 (none) to 1.6, and how they lean: -1 left only, 1 right only."""

    units: Units
    lean: Units = field(default_factory=dict)

    def side(self, side: int) -> Units:
        """The units as one half of the face shows them: ``side`` -1 is left in the image, 1 right."""
        return {unit: max(0.0, x * (1 + side * self.lean.get(unit, 0.0))) for unit, x in self.units.items()}


def enact(emotion: str, variant: str, style: ExpressionStyle, stream: np.random.Generator) -> Expression:
    """``emotion`` (``"FE"``) with mouth ``variant`` (``"C"``, ``"O"``, ``"X"``) as an actor shows it once.

    Three things are added up: the prototype in this actor's rendition, what this actor always mixes in, and
    what the moment mixes in: some units of another emotion, any of the five.  Intensity differs from one
    time to the next, as does each unit; now and then one stays out.  What the face shows at rest stays.
    """
    intensity = _INTENSITY * float(np.exp(stream.normal(0, _INTENSITY_SPREAD)))
    others = [e for e in sorted(EMOTIONS) if e != emotion]
    other = others[int(stream.integers(len(others)))]
    share = _BLEND * float(stream.random())
    shown, lean = dict(style.resting), dict(style.lean)

    def add(unit: int, strength: float) -> None:
        shown[unit] = shown.get(unit, 0.0) + intensity * strength

    rendition, accents = style.renditions.get(emotion, {}), style.accents.get(emotion, {})
    for parts, factor, chance in (
        (prototype(emotion, variant), 1.0, 1 - _MISSING),
        (prototype(other, variant), share, _BLENDED_UNITS),
    ):
        for unit, strength in sorted(parts.items()):
            moment = float(np.exp(stream.normal(0, _UNIT_SPREAD)))
            if stream.random() < chance:
                habit = style.habits.get(unit, 1.0) * rendition.get(unit, 1.0)
                add(unit, factor * strength * moment * habit)
    for unit, strength in sorted(accents.items()):
        add(unit, strength)
    for unit in sorted(shown):
        lean[unit] = lean.get(unit, 0.0) + float(stream.normal(0, 0.08))
    return Expression({u: float(np.clip(x, 0.0, _MOST)) for u, x in sorted(shown.items())}, lean)
