"""Painting one face, from the back to the front."""

from __future__ import annotations

from siamplex.faces.action_units import Units
from siamplex.faces.canvas import Canvas, Image, Moment
from siamplex.faces.features import eye, mouth, nose
from siamplex.faces.head import body, hair_behind, hair_in_front, head
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import place
from siamplex.faces.shading import creases, light


def draw(who: Identity, units: Units, moment: Moment) -> Image:
    """Paint ``who`` showing ``units``: a (308, 240, 3) BGR uint8 image."""
    face = place(who, units)
    canvas = Canvas(who, moment)
    hair_behind(canvas, who, face)
    body(canvas, who, face)
    head(canvas, who, face)
    for one in face.eyes:
        eye(canvas, who, one)
    nose(canvas, who, face)
    mouth(canvas, who, face, units)
    hair_in_front(canvas, who, face)
    creases(canvas, who, face, units)
    light(canvas, who, face)
    return canvas.finish()
