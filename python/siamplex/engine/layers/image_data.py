"""ImageData: batches of pictures from a list of files, and their labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from siamplex.engine.net.feeding import FeedingLayer
from siamplex.engine.net.image_source import LIST, ImageSource, Listed, Sample, read_list
from siamplex.engine.net.layer import Context, Shape, register
from siamplex.engine.net.transform import Transform
from siamplex.errors import InputError

# old fields that Caffe accepts in a new-style layer and ignores
_WITHOUT_EFFECT = frozenset({"scale", "mean_file", "crop_size", "mirror"})


@register("ImageData")
class ImageData(FeedingLayer):
    """Tops: pictures (N, C, H, W) after transform_param, and labels (N,).

    ``source`` lists a path and a label a line; ``root_folder`` is prepended to each path without a separator.  A label
    that is not a whole number is read as Caffe reads it (1.5 is 1), with a note in the log; one that begins with no
    number ("three"), which Caffe reads as 0, is refused, and so is one outside int32 or in digits that are not ASCII.
    Pictures are read as OpenCV reads them, BGR or with ``is_color: false`` grey, and resized to ``new_height`` and
    ``new_width``.  With ``crop_size`` they must be as large as the crop, with a mean_file they must have its size.
    Otherwise a batch has the size of its first picture, as in Caffe, and the net is reshaped where that changes
    (:mod:`~siamplex.engine.net.reshaping`); a picture of another size within a batch is refused.

    ``shuffle`` and ``rand_skip`` draw from (seed, layer, pass): the order is not Caffe's, but a resumed run repeats it.
    Paths are relative to the working folder, as in Caffe, or else to the prototxt's folder.
    """

    param_field = "image_data_param"
    supported = (
        frozenset("source batch_size rand_skip shuffle new_height new_width is_color root_folder".split())
        | _WITHOUT_EFFECT
    )
    bottom_count = (0, 0)
    top_count = (2, 2)
    source: ImageSource

    def configure(self) -> None:
        p = self.params
        for descriptor, _ in p.ListFields():
            if descriptor.name in _WITHOUT_EFFECT:
                what = f"{descriptor.name} of image_data_param has no effect, as in Caffe: transform_param has it"
                self.note(what, descriptor.name, 0)
        self.require(bool(p.source), "source is missing")
        self.require(p.batch_size > 0, "batch_size must be positive", "batch_size", 0)
        field = "new_height" if p.new_height else "new_width"
        self.require(
            (p.new_height > 0) == (p.new_width > 0), "give both new_height and new_width, or neither", field, 0
        )

    def setup(self, bottoms: Sequence[Shape]) -> list[Shape]:
        p = self.params
        self.transform = Transform.of(self.spec)
        count = self.rows(int(p.batch_size))
        listed = self._list()
        skips = f"rand_skip may skip {p.rand_skip - 1} of {len(listed)} pictures, which Caffe refuses"
        self.require(p.rand_skip <= len(listed), skips, "rand_skip", 0)
        size = (int(p.new_height), int(p.new_width)) if p.new_height else None
        self.source = ImageSource(listed, size, bool(p.is_color), bool(p.shuffle), int(p.rand_skip), self.spec.key)
        first = self.source.sample(0)
        self._begins = 0, first.shape[1:]
        return [(count, *self.transform.output_shape(first.shape)), (count,)]

    @property
    def sizes_vary(self) -> bool:
        """Whether batches have the sizes of their pictures: these are neither resized nor cropped, and have no mean."""
        return not (self.params.new_height or self._crop or self.transform.mean_size)

    @property
    def place(self) -> str:
        """The first picture of the last batch: its place in the list, and its size."""
        number, (height, width) = self._begins
        size = f"{height}x{width} pixels (height x width; new_height and new_width give all pictures one size)"
        return f"{self.source.where(number)}, {size}"

    @property
    def _crop(self) -> int:
        return int(self.spec.message.transform_param.crop_size)

    def _list(self) -> list[Listed]:
        """The pictures of the source.  Raises PrototxtError, or InputError for a line of it."""
        name, root, prototxt = str(self.params.source), str(self.params.root_folder), self.spec.source
        path = prototxt.find(name)
        try:
            return read_list(
                path,
                lambda one: prototxt.find(root + one),
                lambda one: prototxt.missing(root + one),
                lambda said: self.note(said, "source", 0),
            )
        except InputError as error:
            if error.path != str(path):  # a line's
                raise
            found = error.found if path.exists() else prototxt.missing(name)
            what = f"source '{name}': expected {LIST}, found {found}"
            raise self.spec.error(what, "image_data_param", 0, "source", 0) from None

    def forward(
        self, bottoms: Sequence[torch.Tensor], params: Sequence[torch.Tensor], context: Context
    ) -> list[torch.Tensor]:
        samples, labels, numbers = self.source.batch(int(self.params.batch_size), context.seed)
        self._begins = numbers[0], samples[0].shape[1:]
        for sample, number in zip(samples, numbers, strict=True):
            self._check(sample, number)
        data = self.transform.apply_each(samples, context, self.spec.key)
        share = self.spec.share
        return [torch.from_numpy(share.of(data)), torch.from_numpy(share.of(labels))]

    def _check(self, sample: Sample, number: int) -> None:
        """Refuse a picture that does not fit its batch, the mean image or the crop.  Raises InputError."""
        size, mean, (first, wanted) = sample.shape[1:], self.transform.mean_size, self._begins
        if mean:
            if size == mean:
                return
            expected = f"{mean[0]}x{mean[1]} pixels (height x width), as its mean_file has"
        elif self._crop:
            if min(size) >= self._crop:
                return
            expected = f"at least {self._crop}x{self._crop} pixels, crop_size"
        else:
            if size == wanted:
                return
            why = f"as the first picture of its batch has ({self.source.where(first)})"
            expected = f"{wanted[0]}x{wanted[1]} pixels (height x width), {why}; new_height and new_width resize them"
        raise InputError(self.source.where(number), expected, f"{size[0]}x{size[1]}")
