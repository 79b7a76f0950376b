"""An actor's style of expression: the face at rest, and how the actor shows each emotion.

People differ in these as much as in their features: one frowns at rest, one smiles with one side, one
never shows certain action units, one's fear has something of surprise.  This is what makes the emotion
of someone never seen before hard to tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from siamplex.corpus.emotions import EMOTIONS
from siamplex.faces.action_units import Units, prototype

# action units whose strength is an actor's habit
_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 16, 17, 20, 22, 23, 24, 25, 26, 27, 43)

# units that a face at rest may seem to show, with the most it shows of them
_RESTING: Units = {1: 0.5, 2: 0.6, 4: 0.8, 5: 0.4, 6: 0.5, 7: 0.8, 12: 0.5, 15: 0.7, 17: 0.6, 24: 0.7, 43: 0.9}
_RESTS = 0.4  # chance that a face at rest seems to show one of them

_HARDLY_USED = 0.08  # chance that an actor hardly uses a unit
_RENDITION = 0.5  # log deviation of a unit from one emotion of an actor to another
_LEFT_OUT = 0.08  # chance that an actor hardly uses a unit in one emotion
_ACCENT = 1.3  # the most of another emotion that an actor always mixes into one
_ACCENTED_UNITS = 0.6  # share of that emotion's units that are mixed in


@dataclass(frozen=True)
class ExpressionStyle:
    """Habits of one actor, all by action unit.

    ``habits``: factor of the prototype's intensity, near 0 for a unit that the actor hardly uses.
    ``resting``: intensity, 0 to 0.9, that the face shows without any emotion.
    ``lean``: asymmetry, -1 (left of the image only) to 1 (right only).
    ``renditions``: of each emotion, further factors of its units.
    ``accents``: of each emotion, intensity of another's units that the actor mixes in every time.
    """

    habits: Units = field(default_factory=dict)
    resting: Units = field(default_factory=dict)
    lean: Units = field(default_factory=dict)
    renditions: dict[str, Units] = field(default_factory=dict)
    accents: dict[str, Units] = field(default_factory=dict)


def style_of(stream: np.random.Generator) -> ExpressionStyle:
    """Draw the style of an actor from ``stream``."""
    vigour = float(np.clip(stream.normal(1.0, 0.12), 0.75, 1.25))
    habits, lean, resting = {}, {}, {}
    for unit in _UNITS:
        used = stream.random() > _HARDLY_USED
        strength = float(np.clip(stream.normal(1.0, 0.22), 0.55, 1.4)) * vigour
        habits[unit] = strength if used else 0.2 * strength
        lean[unit] = float(np.clip(stream.normal(0, 0.12), -0.4, 0.4))
    for unit, most in _RESTING.items():
        seen = stream.random() < _RESTS
        resting[unit] = float(stream.uniform(0, most)) if seen else 0.0
    renditions, accents = {}, {}
    for emotion in sorted(EMOTIONS):
        renditions[emotion] = _rendition(stream)
        accents[emotion] = _accent(emotion, stream)
    return ExpressionStyle(habits, resting, lean, renditions, accents)


def _rendition(stream: np.random.Generator) -> Units:
    factors = {}
    for unit in _UNITS:
        factor = float(np.exp(stream.normal(0, _RENDITION)))
        factors[unit] = factor if stream.random() > _LEFT_OUT else 0.15 * factor
    return factors


def _accent(emotion: str, stream: np.random.Generator) -> Units:
    """Some units of another emotion, any of the five."""
    others = [e for e in sorted(EMOTIONS) if e != emotion]
    other = others[int(stream.integers(len(others)))]
    share = _ACCENT * float(stream.random())
    return {u: share * x for u, x in sorted(prototype(other, "C").items()) if stream.random() < _ACCENTED_UNITS}
