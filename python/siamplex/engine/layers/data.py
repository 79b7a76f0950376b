"""Data: batches of stored samples and their labels, read from an LMDB or LevelDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from siamplex.engine.net.data_source import DataSource, Samples, Whole
from siamplex.engine.net.feeding import FeedingLayer
from siamplex.engine.net.layer import Context, Shape, register
from siamplex.engine.net.transform import Transform
from siamplex.errors import InputError, PrototxtError
from siamplex.run.progress import say
from siamplex.schema.messages import enum_name
from siamplex.schema.record_stores import BACKENDS

# old fields that Caffe accepts in a new-style layer and ignores
_WITHOUT_EFFECT = frozenset({"scale", "mean_file", "crop_size", "mirror", "force_encoded_color"})


@register("Data")
class Data(FeedingLayer):
    """Tops: samples (N, C, H, W) after transform_param and, with a second top, labels (N,).

    Reads the store in key order; ``rand_skip`` has no effect, as in Caffe 1.0.  Paths are relative to the working
    folder, as in Caffe, or else to the prototxt's folder.  Encoded samples keep their stored channels, unless
    transform_param has force_color or force_gray.

    With ``crop_size`` samples may have any size that holds the crop; with a mean_file they must have its size.
    Otherwise a batch has the size of its first sample, as in Caffe, and the net is reshaped where that changes
    (:mod:`~siamplex.engine.net.reshaping`); a sample of another size within a batch is refused.
    """

    param_field = "data_param"
    supported = frozenset({"source", "batch_size", "rand_skip", "backend", "prefetch"}) | _WITHOUT_EFFECT
    bottom_count = (0, 0)
    top_count = (1, 2)
    source: DataSource

    def configure(self) -> None:
        p = self.params
        for descriptor, _ in p.ListFields():
            if descriptor.name in _WITHOUT_EFFECT:
                what = f"{descriptor.name} of data_param has no effect, as in Caffe: transform_param has it"
                self.note(what, descriptor.name, 0)
        self.require(bool(p.source), "source is missing")
        self.require(p.batch_size > 0, "batch_size must be positive", "batch_size", 0)
        backend = enum_name(p, "backend")
        self.require(backend in BACKENDS, f"backend {backend} is not supported", "backend", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        self.transform = Transform.of(self.spec)
        folder, backend = self.spec.source.find(self.params.source), enum_name(self.params, "backend")
        try:
            self.source = DataSource(folder, backend, self.transform.decoding)
        except InputError as error:
            raise self._not_readable(error, folder, backend) from None
        if self.transform.decoding != "native" and not self.source.encoded:  # Caffe logs it too, and goes on
            say(f"layer '{self.spec.name}': force_color and force_gray are for encoded samples; {folder} has others")
        self._begins: tuple[int, tuple[int, ...]] = 0, self.source.shape
        shape = self.transform.output_shape(self.source.shape)
        count = self.rows(int(self.params.batch_size))
        return [(count, *shape), (count,)][: len(self.spec.message.top)]

    def _not_readable(self, error: InputError, folder: Path, backend: str) -> PrototxtError:
        """The error of a store, with the layer and the line that name it."""
        name, found = str(self.params.source), error.found
        if not folder.exists():
            found = self.spec.source.missing(name)
        elif backend == "LEVELDB" and not self.params.HasField("backend") and (folder / "data.mdb").is_file():
            found = "an LMDB; backend is left out, which is LEVELDB to Caffe: backend: LMDB reads it"
        inside = "" if Path(error.path) == folder else f" ({error.path})"
        what = f"source '{name}'{inside}: expected {error.expected}, found {found}"
        return self.spec.error(what, "data_param", 0, "source", 0)

    @property
    def uniform(self) -> bool:
        """Whether all samples have one shape (C, H, W), as far as the first records tell."""
        return len(self.source.shape) == 3 and not self.source.mixed

    @property
    def sizes_vary(self) -> bool:
        """Whether batches have the sizes of their samples: these differ, are not cropped, and have no mean image."""
        return self.source.mixed and not (self._crop or self.transform.mean_size)

    @property
    def place(self) -> str:
        """The first record of the last batch, and its size."""
        number, (_, height, width) = self._begins
        return f"{self.source.folder} record {number}, {height}x{width} pixels (height x width)"

    @property
    def _crop(self) -> int:
        return int(self.spec.message.transform_param.crop_size)

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        position = self.source.position
        values, labels = self.source.batch(int(self.params.batch_size))
        share = self.spec.share
        if self.source.mixed or isinstance(values, list) or values.shape[1:] != self.source.shape:
            self._check(values, position)
            data = share.of(self.transform.apply_each(list(values), context, self.spec.key))
        else:
            data = self.transform.apply(share.of(values), context, self.spec.key, share)
        return [torch.from_numpy(data), torch.from_numpy(share.of(labels))][: len(self.spec.message.top)]

    def uniform_batch(self) -> Whole:
        """This process's share of the next batch of a :attr:`uniform` store, as stored: (N, C, H, W), labels (N,)."""
        values, labels = self.source.uniform_batch(int(self.params.batch_size))
        return self.spec.share.of(values), self.spec.share.of(labels)

    def _check(self, samples: Samples, position: int) -> None:
        """Refuse a sample that does not fit its batch, the mean image, the crop or the net.  Raises InputError."""
        channels, height, width = self.source.shape
        mean, crop = self.transform.mean_size, self._crop
        self._begins = position, tuple(samples[0].shape)
        for i, sample in enumerate(samples):
            size = sample.shape[1:]
            if sample.shape[0] != channels:
                expected = f"{channels} channels, as the first record has"
            elif mean:
                expected = "" if size == mean else f"{mean[0]}x{mean[1]} pixels (height x width), as its mean_file has"
            elif crop:
                expected = "" if min(size) >= crop else f"at least {crop}x{crop} pixels, crop_size"
            elif size != samples[0].shape[1:]:
                first = f"{samples[0].shape[1]}x{samples[0].shape[2]} pixels (height x width)"
                expected = f"{first}, as the first sample of its batch has (record {position})"
            else:
                fits = self.sizes_vary or size == (height, width)
                expected = "" if fits else f"{height}x{width} pixels (height x width), as all the first records have"
            if expected:
                where = f"{self.source.folder} record {(position + i) % self.source.entries}"
                found = f"{size[0]}x{size[1]}" if sample.shape[0] == channels else f"{sample.shape[0]}"
                raise InputError(where, expected, found)
