"""The six emotions, their NimStim codes, and the paper's counts of images."""

from __future__ import annotations

from collections.abc import Mapping

# NimStim's two-letter codes, in the order of the paper's figures
EMOTIONS: tuple[str, ...] = ("AN", "FE", "DI", "HA", "SA", "SP")

NAMES: Mapping[str, str] = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "SA": "sadness",
    "SP": "surprise",
}

# NimStim's other codes: read over, with a count
NEUTRAL: Mapping[str, str] = {"NE": "neutral", "CA": "calm"}

# Table 1 of the paper: images per emotion, 504 in all
PAPER_COUNTS: Mapping[str, int] = {"AN": 87, "DI": 82, "FE": 80, "HA": 127, "SA": 84, "SP": 44}

# Mouth variants of NimStim file names
VARIANTS: Mapping[str, str] = {"C": "closed", "O": "open", "X": "exuberant"}
