"""The paper's six emotions and others that face sets have, their codes, and the paper's counts of images."""

from __future__ import annotations

from collections.abc import Collection, Mapping

# NimStim's two-letter codes, in the order of the paper's figures
EMOTIONS: tuple[str, ...] = ("AN", "FE", "DI", "HA", "SA", "SP")

# what other sets have beside them: counted and passed over unless asked for
OTHERS: Mapping[str, str] = {"NE": "neutral", "CA": "calm", "CO": "contempt"}

NAMES: Mapping[str, str] = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "SA": "sadness",
    "SP": "surprise",
    **OTHERS,
}

# Table 1 of the paper: images per emotion, 504 in all
PAPER_COUNTS: Mapping[str, int] = {"AN": 87, "DI": 82, "FE": 80, "HA": 127, "SA": 84, "SP": 44}


def named(members: Collection[str]) -> str:
    """``the six emotions``, or the names of others than these."""
    return "the six emotions" if set(members) == set(EMOTIONS) else ", ".join(NAMES[e] for e in in_order(members))


def in_order(present: Collection[str]) -> tuple[str, ...]:
    """Emotions in the order of figures and legends: the paper's six first, then the others; each once."""
    return tuple(e for e in (*EMOTIONS, *OTHERS) if e in present)
