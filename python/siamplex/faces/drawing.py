"""Painting one face, from the back to the front."""

from __future__ import annotations

from siamplex.faces.canvas import Canvas, Image
from siamplex.faces.expression import Expression
from siamplex.faces.features import eye, mouth, nose
from siamplex.faces.head import body, hair_behind, hair_in_front, head
from siamplex.faces.identity import Identity
from siamplex.faces.landmarks import place
from siamplex.faces.lighting import light
from siamplex.faces.moment import Moment
from siamplex.faces.shading import creases
from siamplex.faces.strands import Strands


def draw(who: Identity, shown: Expression, moment: Moment) -> Image:
    """Paint ``who`` showing ``shown``: a (308, 240, 3) BGR uint8 image."""
    face = place(who, shown, moment.gaze)
    canvas = Canvas(who, moment)
    strands = Strands(canvas, who, moment.hair)
    hair_behind(canvas, who, strands)
    body(canvas, who, face)
    head(canvas, who, face)
    for one in face.eyes:
        eye(canvas, who, one)
    nose(canvas, who, face)
    mouth(canvas, who, face)
    hair_in_front(canvas, who, strands)
    creases(canvas, who, face, shown)
    light(canvas, who, face, moment)
    return canvas.finish()
