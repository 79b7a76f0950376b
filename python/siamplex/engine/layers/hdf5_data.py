"""HDF5Data: batches of rows from the datasets of HDF5 files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from siamplex.engine.net.feeding import FeedingLayer
from siamplex.engine.net.hdf5_source import Hdf5Source
from siamplex.engine.net.layer import Context, Shape, register
from siamplex.errors import InputError
from siamplex.schema.file_lists import read_lines

_LIST = "a text file that lists HDF5 files"


@register("HDF5Data")
class HDF5Data(FeedingLayer):
    """Tops: (N, ...) rows of the datasets with the tops' names, float32; integers and doubles are converted.

    ``source`` is a text file that lists HDF5 files, which are read in turn.  ``shuffle`` draws the order of files and
    of each file's rows anew for each pass, from (seed, layer, pass): the order is not Caffe's, but a resumed run
    repeats it.  Paths are relative to the working folder, as in Caffe, or else to the prototxt's folder.  All files are
    checked first and rows with another shape are refused; Caffe opens a file when it reads it, and ignores the shape.
    """

    param_field = "hdf5_data_param"
    supported = frozenset({"source", "batch_size", "shuffle"})
    bottom_count = (0, 0)
    top_count = (1, 1000)
    source: Hdf5Source

    def configure(self) -> None:
        message = self.spec.message
        if message.HasField("transform_param"):
            raise self.spec.error("does not transform data: leave transform_param out", "transform_param", 0)
        self.require(bool(self.params.source), "source is missing")
        self.require(self.params.batch_size > 0, "batch_size must be positive", "batch_size", 0)

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        count = self.rows(int(self.params.batch_size))
        names = [str(top) for top in self.spec.message.top]
        self.source = Hdf5Source(self._files(), names, bool(self.params.shuffle), self.spec.key)
        return [(count, *shape) for shape in self.source.shapes]

    def _files(self) -> list[Path]:
        """The files in the source list, separated by white space as in Caffe.  Raises PrototxtError or InputError."""
        name, prototxt = str(self.params.source), self.spec.source
        listed = prototxt.find(name)
        try:
            lines = read_lines(listed, _LIST)
        except InputError as error:
            found = error.found if listed.exists() else prototxt.missing(name)
            what = f"source '{name}': expected {error.expected}, found {found}"
            raise self.spec.error(what, "hdf5_data_param", 0, "source", 0) from None
        files = []
        for number, line in enumerate(lines, 1):
            words = line.split()
            for word in words:
                try:
                    path = prototxt.find(word)
                except InputError as error:
                    raise InputError(f"{listed}:{number}", error.expected, error.found) from None
                if not path.is_file():
                    found = f"no file '{word}'" if path.exists() else f"'{word}': {prototxt.missing(word)}"
                    if len(words) > 1:
                        found += f" (names end at white space, as in Caffe: '{line.strip()}')"
                    raise InputError(f"{listed}:{number}", "an HDF5 file", found)
                files.append(path)
        self.require(bool(files), f"source '{name}': expected {_LIST}, found none in it", "source", 0)
        return files

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        batch = self.source.batch(int(self.params.batch_size), context.seed)
        return [torch.from_numpy(self.spec.share.of(values)) for values in batch]
