"""transform_param: crop, mirror, subtract the mean, scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siamplex.engine.net.layer import ALL, Context, LayerSpec, Share
from siamplex.errors import InputError
from siamplex.randomness import numpy_stream
from siamplex.schema.weights import read_mean_file

_SUPPORTED = frozenset({"scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray"})


class Transform:
    """(x - mean) * scale on (C, H, W) samples, cropped and mirrored as asked.

    In training, crops and mirrorings are random; in testing the crop is central.  ``mean_value``
    holds one value or one for each channel, ``mean_file`` a whole (C, H, W) mean image.
    """

    def __init__(self, spec: LayerSpec, mean_path: Path | None) -> None:
        self._spec, self._params = spec, spec.message.transform_param
        p = self._params
        for descriptor, _ in p.ListFields():
            if descriptor.name not in _SUPPORTED:
                raise self._error(f"field '{descriptor.name}' is not supported", descriptor.name)
        if p.mean_value and p.HasField("mean_file"):
            raise self._error("give mean_file or mean_value, not both", "mean_value")
        self._mean_image = read_mean_file(mean_path) if mean_path else None
        self._mean_values = np.array(p.mean_value, np.float32)
        self._scale = np.float32(p.scale)

    @classmethod
    def of(cls, spec: LayerSpec) -> Transform:
        """The transform of a layer; finds and reads its mean file.  Raises PrototxtError."""
        name = str(spec.message.transform_param.mean_file)
        try:
            return cls(spec, spec.source.find(name) if name else None)
        except InputError as error:
            found = spec.source.missing(name) if not Path(error.path).exists() else error.found
            what = f"mean_file '{name}': expected {error.expected}, found {found}"
            raise spec.error(what, "transform_param", 0, "mean_file", 0) from None

    def _error(self, what: str, field: str) -> Exception:
        return self._spec.error(what, "transform_param", 0, field, 0)

    @property
    def decoding(self) -> str:
        """How encoded samples are decoded, by force_color and force_gray: a mode of :class:`DataSource`."""
        if self._params.force_color and self._params.force_gray:
            return "both"
        return "color" if self._params.force_color else "gray" if self._params.force_gray else "native"

    @property
    def is_random(self) -> bool:
        """Whether two training passes over one sample may give different results."""
        return bool(self._params.mirror or self._params.crop_size)

    @property
    def mean_size(self) -> tuple[int, int] | None:
        """Height and width of the mean image, which all samples must have; None without one."""
        return None if self._mean_image is None else self._mean_image.shape[-2:]

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H', W') for samples of (C, H, W); refuses a crop or mean that does not fit."""
        channels, height, width = shape
        crop = int(self._params.crop_size)
        if crop > min(height, width):
            raise self._error(f"crop_size {crop} of {height}x{width} samples", "crop_size")
        if len(self._mean_values) not in (0, 1, channels):
            raise self._error(f"{len(self._mean_values)} mean values for {channels} channels", "mean_value")
        if self._mean_image is not None and self._mean_image.shape != tuple(shape):
            raise self._error(f"mean of {self._mean_image.shape} for samples {shape}", "mean_file")
        return (channels, crop, crop) if crop else (channels, height, width)

    def apply(
        self, batch: npt.NDArray[Any], context: Context, layer: str, share: Share = ALL
    ) -> npt.NDArray[np.float32]:
        """Transform (N, C, H, W) of bytes or floats to cropped float32; ``batch`` is this process's share."""
        out = self.apply_part(batch, (0, batch.shape[1]))
        return self._crop_and_mirror(out, context, layer, share) if self.is_random else out

    def apply_each(self, samples: Sequence[npt.NDArray[Any]], context: Context, layer: str) -> npt.NDArray[np.float32]:
        """As :meth:`apply` for samples (C, H, W) of several sizes: (N, C, H', W')."""
        if len({sample.shape for sample in samples}) == 1:
            return self.apply(np.stack(samples), context, layer)
        parts = [self.apply_part(sample[None], (0, len(sample)))[0] for sample in samples]
        return self._crop_and_mirror(parts, context, layer, ALL)

    def apply_part(self, batch: npt.NDArray[Any], part: tuple[int, int]) -> npt.NDArray[np.float32]:
        """(N, C', H, W), channels ``part`` of the samples, less the mean and scaled; never cropped."""
        out = batch.astype(np.float32)
        mean = self._mean(part)
        if mean is not None:
            out -= mean
        if self._scale != 1:
            out *= self._scale
        return out

    def _mean(self, part: tuple[int, int]) -> npt.NDArray[np.float32] | None:
        """The mean subtracted from channels ``part``: (C', H, W), (C', 1, 1), (1, 1, 1) or None."""
        if self._mean_image is not None:
            return self._mean_image[part[0] : part[1]]
        if len(self._mean_values) > 1:
            return self._mean_values[part[0] : part[1], None, None]
        return self._mean_values[:, None, None] if len(self._mean_values) else None

    def part_signature(self, part: tuple[int, int]) -> tuple[object, ...]:
        """A key that is equal for channels with the same transform."""
        mean = self._mean(part)
        return (part[1] - part[0], float(self._scale), b"" if mean is None else mean.tobytes())

    def is_identity(self, part: tuple[int, int]) -> bool:
        """Whether channels ``part`` are not changed."""
        return self._mean(part) is None and self._scale == 1

    def _crop_and_mirror(
        self, batch: Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32], context: Context, layer: str,
        share: Share,
    ) -> npt.NDArray[np.float32]:  # fmt: skip
        crop, count = int(self._params.crop_size), len(batch)
        stream = numpy_stream(context.seed, "transform", layer, context.iteration, context.sub_pass)
        result = []
        for i in range(count * share.size):  # drawn for the whole batch, so that shares get the same draws
            mine = i - share.rank * count
            _, height, width = batch[mine if 0 <= mine < count else 0].shape  # shares have samples of one size
            room = np.array([height - crop, width - crop]) if crop else np.zeros(2, int)
            top, left = stream.integers(0, room + 1) if crop and context.train else room // 2
            flip = bool(self._params.mirror and stream.integers(2))
            if not 0 <= mine < count:
                continue
            sample = batch[mine]
            if crop:
                sample = sample[:, top : top + crop, left : left + crop]
            result.append(sample[:, :, ::-1] if flip else sample)
        return np.stack(result)
