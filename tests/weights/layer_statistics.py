"""What conv1-3 answer to drawn faces: the statistics that a substitute shares with AlexNet.

    PYTHONPATH=python:. python -m tests.weights.layer_statistics ../shared/alexnet/conv1-3.npz

prints them for a file, as ``ALEXNET`` in ``test_substitute.py`` records them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from siamplex.corpus.emotions import PAPER_COUNTS
from siamplex.corpus.images import fit
from siamplex.faces.corpus import allot, portray
from siamplex.pairs.build import MEAN_BGR
from siamplex.schema.blobs import Array
from siamplex.weights.alexnet import load
from siamplex.weights.answers import answers

SCALES = {"1": 1.0, "1/256": 1 / 256}
NAMES = ("mean", "deviation", "maximum", "active")
_EVERY = 24  # portraits between those looked at


def drawn_faces() -> torch.Tensor:
    """(21, 3, 227, 227) float32 BGR of the corpus that ``siamplex faces`` draws from seed 1, less the mean."""
    portraits = allot(PAPER_COUNTS, 43, 1)[::_EVERY]
    pixels = np.stack([fit(portray(p, 1), 227).transpose(2, 0, 1) for p in portraits]).astype(np.float32)
    return torch.from_numpy(pixels - np.array(MEAN_BGR, np.float32)[:, None, None])


def statistics(arrays: Mapping[str, Sequence[Array]], faces: torch.Tensor) -> dict[str, dict[str, list[float]]]:
    """Of each scale and layer: mean, deviation, maximum and share above 0, behind the ReLU and before the LRN.

    ``rows`` are conv3's rows: the mean squared length of a row, and of a row less the mean row.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for scale, factor in SCALES.items():
        layers = found[scale] = {}
        for name, x in answers(arrays, faces * factor):
            shares = [x.mean(), x.std(), x.max(), (x > 0).float().mean()]
            layers[name] = [float(s) for s in shares]
        rows = x.flatten(1).double()
        layers["rows"] = [float((r**2).sum(1).mean()) for r in (rows, rows - rows.mean(0))]
    return found


def main() -> None:
    """Print the statistics of a file."""
    for scale, layers in statistics(load(Path(sys.argv[1])).arrays, drawn_faces()).items():
        for name, values in layers.items():
            print(f'    ("{scale}", "{name}"): [{", ".join(f"{v:.4g}" for v in values)}],')


if __name__ == "__main__":
    main()
