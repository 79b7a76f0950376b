"""Activations of given conv1-3 for images, without a net: for measuring weights and faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from siamplex.pairs.build import MEAN_BGR
from siamplex.pairs.scaling import scaled
from siamplex.run.progress import track
from siamplex.schema.blobs import Array

_HOW: dict[str, dict[str, int]] = {
    "conv1": {"stride": 4},
    "conv2": {"padding": 2, "groups": 2},
    "conv3": {"padding": 1},
}
_AT_ONCE = 16  # images


def answers(arrays: Mapping[str, Sequence[Array]], images: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Of conv1, conv2, conv3: its name and its activations after the ReLU, (N, channels, H, W).

    ``arrays`` holds weights and biases of each; ``images`` (N, 3, H, W) BGR float32 are scaled and centred.
    LRN and pooling lie between the layers as in AlexNet.
    """
    x = images
    for name, how in _HOW.items():
        weights, biases = (torch.from_numpy(a.copy()) for a in arrays[name])
        x = functional.relu(functional.conv2d(x, weights, biases, **how))
        yield name, x
        if name != "conv3":
            x = functional.max_pool2d(functional.local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2)


def conv3_rows(arrays: Mapping[str, Sequence[Array]], pictures: npt.NDArray[np.uint8], scale: float) -> Array:
    """conv3's activations for ``pictures`` (N, 3, H, W) BGR, less the mean, times ``scale``: (N, D) float32."""
    rows = []
    starts = range(0, len(pictures), _AT_ONCE)
    for start in track(starts, "images", len(starts)):
        batch = scaled(pictures[start : start + _AT_ONCE], MEAN_BGR, scale)
        with torch.no_grad():
            *_, (_, last) = answers(arrays, torch.from_numpy(batch))
        rows.append(last.flatten(1).numpy())
    return np.concatenate(rows)
