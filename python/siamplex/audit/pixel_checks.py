"""Checks of the stored pixels: size, channels, mean, scale, and that they are the corpus's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles
from siamplex.audit.stored_pairs import StoredPairs
from siamplex.audit.towers import read_twins
from siamplex.pairs.images import stored_images
from siamplex.schema.blobs import Array

_IMPLIED = "AlexNet's weights presuppose B, G, R less ImageNet's mean (104, 117, 123)"

_SCALES = (
    "the paper names no scale; pixels of 0..255 cannot have been its input: with AlexNet's weights one step at 0.0001 "
    "changes an output of fc4 by some 5,900 times its gradient, and the loss explodes at iteration 2; 1/256 is what "
    "Caffe's own siamese example uses, and photographs train with it (docs/recipe.md)"
)
_IMPOSSIBLE = "cannot have been the paper's at this rate: "

Pictures = npt.NDArray[np.uint8]


def check_pixels(files: RunFiles, images: Pictures | None, stored: Mapping[str, StoredPairs]) -> list[Finding]:
    """``images`` are the corpus's files as (N, 3, H, W) BGR bytes, None where they are not available."""
    found = Findings("images")
    size = int(files.store.store.options["size"])
    found.stated("input", f"{paper.SIZE}x{paper.SIZE}x3", f"{size}x{size}x3")
    found.silent(
        "resizing", files.store.store.options["resize"], "the paper does not say how faces were cut or resized"
    )
    crops = sorted({str(entry.crop) if entry.crop else "none" for entry in files.store.index.entries})
    found.silent(
        "crop", " and ".join(crops),
        "left, upper, right, lower edge of the part kept, in shares of width and height; how much of a picture is face "
        "differs from set to set",
    )  # fmt: skip
    if files.layout == "indexed":
        _indexed(found, files, images)
    else:
        _stacked(found, files, images, stored)
    return found.made


def _indexed(found: Findings, files: RunFiles, images: Pictures | None) -> None:
    table = stored_images(files.store, files.pairs)
    if images is not None:
        # a table of (pixel - mean) * scale is a straight line of the pixels where the channels are in order
        lines = [_line(table, pixels) for pixels in (images, images[:, ::-1])]
        swapped = lines[1].spread < lines[0].spread
        line = lines[swapped]
        straight = line.spread < 1e-3
        _channels(found, swapped, straight)
        _mean(found, line.mean if straight else None)
        _scale(found, files, line.scale if straight else None)
        return
    found.unchecked("channels", "B, G, R (as AlexNet's weights)", "the image files are not where the index says")
    declared, scale = np.array(files.store.store.options["mean"], np.float32), files.store.scale
    pixels = table / np.float32(scale) + declared[:, None, None]
    possible = bool(pixels.min() > -0.01 and pixels.max() < 255.01 and np.abs(pixels - np.round(pixels)).max() < 0.01)
    _mean(found, tuple(map(float, declared)) if possible else None)
    _scale(found, files, scale if possible else None)


class _Line(NamedTuple):
    """A table fitted as (pixel - mean) * scale; ``spread`` is the largest error, in units of a pixel's value."""

    scale: float
    mean: tuple[float, ...]
    spread: float


def _line(table: Array, pixels: Pictures) -> _Line:
    """The line through (pixel, table) that fits best: one scale, a mean for each channel."""
    x, y = (a[:, :, ::7, ::7].astype(np.float64) for a in (pixels, table))
    x, y = (a - a.mean(axis=(0, 2, 3), keepdims=True) for a in (x, y))
    power = float((x * x).sum())
    scale = float((x * y).sum()) / power if power else 1.0
    if scale <= 0:
        return _Line(scale, (), np.inf)
    off = table / np.float32(scale) - pixels
    mean = tuple(float(-d) for d in np.median(off[:, :, ::7, ::7], axis=(0, 2, 3)))
    return _Line(scale, mean, float(np.ptp(off, axis=(0, 2, 3)).max()))


def _stacked(found: Findings, files: RunFiles, images: Pictures | None, stored: Mapping[str, StoredPairs]) -> None:
    if images is None:
        found.unchecked("channels", "B, G, R (as AlexNet's weights)", "the image files are not where the index says")
    else:
        unknown = sum(pairs.unknown for pairs in stored.values())
        _channels(found, any(pairs.swapped for pairs in stored.values()), not unknown)
    means = []
    for stage in files.stages.values():
        values = [float(v) for v in read_twins(stage.net).data.transform_param.mean_value]
        means.append(tuple(values) if values else (0.0,) * 6)
    if means:
        wrong = [m for m in means if len(m) != 6 or not _near(m[:3]) or not _near(m[3:])]
        _mean(found, (wrong[0] if wrong else means[0])[:3])
    scales = sorted({float(read_twins(stage.net).data.transform_param.scale) for stage in files.stages.values()})
    for scale in scales:
        _scale(found, files, scale)


def _channels(found: Findings, swapped: bool, known: bool) -> None:
    words = "R, G, B" if swapped else "B, G, R"
    if not known:
        words = "pixels that are not the corpus's files"
    found.stated("channels", "B, G, R (as AlexNet's weights)", words, known and not swapped, _IMPLIED)


def _near(mean: tuple[float, ...]) -> bool:
    gaps = (abs(a - b) for a, b in zip(mean, paper.ALEXNET_MEAN, strict=False))
    return len(mean) == 3 and all(gap <= paper.MEAN_TOLERANCE for gap in gaps)


def _mean(found: Findings, mean: tuple[float, ...] | None) -> None:
    words = ", ".join(f"{m:g}" for m in mean) if mean else "not the one pairs.json states"
    found.stated("mean subtracted", "104, 117, 123 (as AlexNet's weights)", words, bool(mean and _near(mean)), _IMPLIED)


def _scale(found: Findings, files: RunFiles, scale: float | None) -> None:
    """The paper states no scale; 0..255 diverges at its rate at once, so it cannot have been the paper's."""
    if scale is None:
        found.stated("input scale", "-", "not the one pairs.json states", False)
        return
    rates = {float(stage.solver.message.base_lr) for stage in files.stages.values()}
    impossible = scale >= paper.IMPOSSIBLE_SCALE and any(rate >= paper.BASE_LR for rate in rates)
    found.silent("input scale", _as_fraction(scale), (_IMPOSSIBLE if impossible else "") + _SCALES)


def _as_fraction(scale: float) -> str:
    """``0.00390625 (1/256)`` where the scale is one over a whole number."""
    whole = round(1 / scale)
    return f"{scale:.6g}" + (f" (1/{whole})" if whole > 1 and abs(scale * whole - 1) < 1e-5 else "")
