"""Data: batches of stored samples and their labels, read from an LMDB or LevelDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from siamplex.engine.net.data_source import Batch, DataSource
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

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        values, labels = self.batch()
        data = self.transform.apply(values, context, self.spec.key, self.spec.share)
        return [torch.from_numpy(data), torch.from_numpy(labels)][: len(self.spec.message.top)]

    def batch(self) -> Batch:
        """This process's share of the next batch, as stored: values (N, C, H, W) and labels (N,)."""
        values, labels = self.source.batch(int(self.params.batch_size))
        return self.spec.share.of(values), self.spec.share.of(labels)
