"""The pixels that were trained on: size, channels, mean, and that they are the corpus's own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles
from siamplex.audit.stored_pairs import StoredPairs
from siamplex.audit.towers import read_twins
from siamplex.pairs.images import stored_images

_IMPLIED = "AlexNet's weights presuppose B, G, R less ImageNet's mean (104, 117, 123)"

Pictures = npt.NDArray[np.uint8]


def check_pixels(files: RunFiles, images: Pictures | None, stored: Mapping[str, StoredPairs]) -> list[Finding]:
    """``images`` are the corpus's files as (N, 3, H, W) BGR bytes, None where they are not at hand."""
    found = Findings("images")
    size = int(files.store.store.options["size"])
    found.stated("input", f"{paper.SIZE}x{paper.SIZE}x3", f"{size}x{size}x3")
    found.silent(
        "resizing", files.store.store.options["resize"], "the paper does not say how faces were cut or resized"
    )
    if files.layout == "indexed":
        _indexed(found, files, images)
    else:
        _stacked(found, files, images, stored)
    return found.made


def _indexed(found: Findings, files: RunFiles, images: Pictures | None) -> None:
    table = stored_images(files.store, files.pairs)
    if images is not None:
        straight = table - images.astype(np.float32)
        exchanged = table - images[:, ::-1].astype(np.float32)
        # what was subtracted is one number a channel where the channels are in order
        spread, spread_exchanged = (float(np.ptp(d, axis=(0, 2, 3)).max()) for d in (straight, exchanged))
        swapped = spread_exchanged < spread
        difference = exchanged if swapped else straight
        constant = min(spread, spread_exchanged) < 1e-3
        mean = tuple(float(-d) for d in np.median(difference[:, :, ::7, ::7], axis=(0, 2, 3)))
        _channels(found, swapped, constant)
        _mean(found, mean if constant else None)
        return
    found.unchecked("channels", "B, G, R (as AlexNet's weights)", "the image files are not where the index says")
    declared = np.array(files.store.store.options["mean"], np.float32)
    pixels = table + declared[:, None, None]
    possible = bool(pixels.min() > -0.01 and pixels.max() < 255.01 and np.abs(pixels - np.round(pixels)).max() < 0.01)
    _mean(found, tuple(map(float, declared)) if possible else None)


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
