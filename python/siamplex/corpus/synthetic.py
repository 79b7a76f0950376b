"""Whether a folder of faces was drawn by siamplex."""

from __future__ import annotations

from pathlib import Path

MARKER = "SYNTHETIC.json"  # its presence says that a folder's faces are drawn


def is_synthetic(folder: Path) -> bool:
    """Whether a folder of faces was drawn by this package."""
    return (folder / MARKER).exists()
