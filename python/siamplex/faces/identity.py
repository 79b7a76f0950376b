"""Actors: everything about a face that stays when the expression changes."""

from __future__ import annotations

from dataclasses import dataclass

from siamplex.faces.expression_style import ExpressionStyle, style_of
from siamplex.randomness import numpy_stream

RGB = tuple[float, float, float]

_SKINS: tuple[RGB, ...] = (
    (247, 218, 196), (236, 196, 168), (222, 175, 140), (196, 145, 108), (150, 103, 74), (108, 72, 52),
)  # fmt: skip
_HAIRS: tuple[RGB, ...] = (
    (28, 23, 22), (52, 36, 27), (88, 58, 36), (122, 66, 36), (196, 158, 98), (140, 134, 130),
)  # fmt: skip
_EYES: tuple[RGB, ...] = ((62, 40, 26), (96, 66, 36), (78, 104, 70), (84, 122, 156), (106, 116, 122))
_CLOTHES: tuple[RGB, ...] = (
    (70, 84, 110), (112, 60, 62), (60, 92, 74), (122, 112, 96), (54, 54, 60), (150, 150, 156),
)  # fmt: skip

STYLES = {
    "F": ("long", "bob", "bun", "curly", "fringe"),
    "M": ("short", "parted", "cropped", "curly", "bald"),
}


@dataclass(frozen=True)
class Identity:
    """One actor.  Lengths are pixels of a 240x308 image, colours RGB 0..255, angles degrees."""

    subject: str
    sex: str
    skin: RGB
    hair: RGB
    style: str
    eyes: RGB
    clothes: RGB
    face_width: float
    face_height: float
    jaw: float  # 0 pointed to 1 square
    brow_thickness: float
    brow_height: float
    brow_arch: float
    eye_spacing: float
    eye_width: float
    eye_height: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    lip: float
    beard: float  # 0 none to 1 full
    light_azimuth: float  # from the right of the image
    yaw: float  # to the right of the image
    pitch: float  # downwards
    roll: float  # clockwise
    size: float
    background: float
    expression: ExpressionStyle


def actor(number: int, sex: str, seed: int) -> Identity:
    """Actor ``number`` (from 1) of a corpus: the same for the same seed, whatever else is drawn."""
    subject = f"{number:02d}{sex}"
    r = numpy_stream(seed, "actor", subject)
    male = sex == "M"

    def between(low: float, high: float) -> float:
        return float(r.uniform(low, high))

    skin = _mix(_SKINS, between(0, len(_SKINS) - 1))
    dark = sum(skin) < 420
    hair_at = between(0, 1.6) if dark else between(0, len(_HAIRS) - 1)
    styles = STYLES[sex]
    return Identity(
        subject=subject,
        sex=sex,
        skin=skin,
        hair=_mix(_HAIRS, hair_at),
        style=styles[(number + int(r.integers(2))) % len(styles)],
        eyes=_EYES[0] if dark else _EYES[int(r.integers(len(_EYES)))],
        clothes=_CLOTHES[int(r.integers(len(_CLOTHES)))],
        face_width=between(63, 74) + (3 if male else -1),
        face_height=between(86, 98) + (2 if male else -1),
        jaw=between(0.45, 1.0) if male else between(0.0, 0.55),
        brow_thickness=between(3.4, 5.4) if male else between(2.0, 3.4),
        brow_height=between(18, 24),
        brow_arch=between(1.0, 4.0) if male else between(3.0, 6.0),
        eye_spacing=between(27, 35),
        eye_width=between(14, 18),
        eye_height=between(6.0, 8.6),
        nose_width=between(11, 17) + (1.5 if male else 0),
        nose_length=between(34, 42),
        mouth_width=between(21, 28),
        mouth_height=between(57, 63),
        lip=between(5.0, 8.5) - (1.2 if male else -0.8),
        beard=float(r.choice([0.0, 0.0, 0.45, 0.9])) if male else 0.0,
        light_azimuth=between(-40, 40),
        yaw=between(-6, 6),
        pitch=between(-4, 4),
        roll=between(-4, 4),
        size=between(0.96, 1.05),
        background=between(205, 240),
        expression=style_of(numpy_stream(seed, "expression style", subject)),
    )


def _mix(palette: tuple[RGB, ...], at: float) -> RGB:
    low = min(int(at), len(palette) - 2)
    share = at - low
    r, g, b = (a + (c - a) * share for a, c in zip(palette[low], palette[low + 1], strict=True))
    return (r, g, b)
