"""How one actor expresses: the face at rest, and what the actor makes of each action unit.

People differ in these as much as in their features: one frowns at rest, one smiles with one side, one
never shows certain action units.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from siamplex.faces.action_units import Units

# action units whose strength is an actor's habit
_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 16, 17, 20, 22, 23, 24, 25, 26, 27, 43)

# units that a face at rest may seem to show, with the most it shows of them
_RESTING: Units = {1: 0.25, 2: 0.3, 4: 0.4, 5: 0.2, 6: 0.25, 7: 0.4, 12: 0.25, 15: 0.35, 17: 0.3, 24: 0.35, 43: 0.45}


@dataclass(frozen=True)
class ExpressionStyle:
    """Habits of one actor, all by action unit.

    ``habits``: factor of the prototype's intensity, 0 for a unit that the actor hardly uses.
    ``resting``: intensity, 0 to 1, that the face shows without any emotion.
    ``lean``: asymmetry, -1 (left of the image only) to 1 (right only).
    """

    habits: Units = field(default_factory=dict)
    resting: Units = field(default_factory=dict)
    lean: Units = field(default_factory=dict)


def style_of(stream: np.random.Generator) -> ExpressionStyle:
    """Draw the style of an actor from ``stream``."""
    vigour = float(np.clip(stream.normal(1.0, 0.12), 0.75, 1.25))
    habits, lean = {}, {}
    for unit in _UNITS:
        used = stream.random() > UNUSED
        strength = float(np.clip(stream.normal(1.0, 0.22), 0.55, 1.4)) * vigour
        habits[unit] = strength if used else 0.2 * strength
        lean[unit] = float(np.clip(stream.normal(0, 0.12), -0.4, 0.4))
    resting = {}
    for unit, most in _RESTING.items():
        seen = stream.random() < 0.4
        resting[unit] = float(stream.uniform(0, most)) * RESTING if seen else 0.0
    return ExpressionStyle(habits, resting, lean)


UNUSED = 0.12  # share of the action units that an actor hardly uses
RESTING = 1.0
