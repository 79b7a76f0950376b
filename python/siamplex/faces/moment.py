"""The conditions of one photograph: pose, light, gaze, hair and camera, all independent of the emotion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moment:
    """What differs between two photographs of one actor and has nothing to do with expression.

    Angles are degrees, lengths pixels of a 240x308 image, the others factors (1: as the actor's own).
    """

    yaw: float = 0.0  # to the right of the image
    pitch: float = 0.0  # downwards
    roll: float = 0.0  # clockwise
    shift: tuple[float, float] = (0.0, 0.0)
    size: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)  # of the irises
    light_azimuth: float = 0.0  # from the right of the image
    light_height: float = 25.0  # from above
    light_strength: float = 0.35  # 0 from everywhere alike, 1 from one side alone
    warmth: float = 0.0  # log of red over blue
    exposure: float = 1.0
    contrast: float = 1.0
    background: float = 1.0
    blur: float = 0.6  # deviation of the blur
    noise: float = 2.0  # deviation of the grain, grey levels
    hair: int = 0  # seed of the strands
    grain: int = 0  # seed of the grain


def draw_moment(stream: np.random.Generator, hair: int, grain: int) -> Moment:
    """Draw a moment from ``stream``; ``hair`` and ``grain`` seed what is drawn strand by strand."""

    def normal(deviation: float, middle: float = 0.0, most: float = 2.2) -> float:
        return middle + deviation * float(np.clip(stream.normal(), -most, most))

    return Moment(
        yaw=normal(2.4),
        pitch=normal(1.8),
        roll=normal(1.0),
        shift=(normal(1.6), normal(1.6)),
        size=float(np.exp(normal(0.014))),
        gaze=(normal(1.6), normal(0.9)),
        light_azimuth=normal(24.0),
        light_height=normal(14.0, 25.0),
        light_strength=float(stream.uniform(0.15, 0.465)),
        warmth=normal(0.025),
        exposure=float(np.exp(normal(0.05))),
        contrast=float(np.exp(normal(0.035))),
        background=float(np.exp(normal(0.03))),
        blur=float(stream.uniform(0.5, 1.0)),
        noise=float(stream.uniform(1.5, 4.0)),
        hair=hair,
        grain=grain,
    )
