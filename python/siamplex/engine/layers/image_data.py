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
    ``new_width``.  After that all must have the size of the first; with ``crop_size`` they must only be as large as
    the crop.  ``shuffle`` and ``rand_skip`` draw from (seed, layer, pass): the order is not Caffe's, but a resumed run
    repeats it.  Paths are relative to the working folder, as in Caffe, or else to the prototxt's folder.
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
        self._first: Shape = tuple(first.shape)
        return [(count, *self.transform.output_shape(self._first)), (count,)]

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
        for sample, number in zip(samples, numbers, strict=True):
            self._check(sample, number)
        data = self.transform.apply_each(samples, context, self.spec.key)
        share = self.spec.share
        return [torch.from_numpy(share.of(data)), torch.from_numpy(share.of(labels))]

    def _check(self, sample: Sample, number: int) -> None:
        """Refuse a picture whose size differs from the first, or one smaller than the crop.  Raises InputError."""
        (_, height, width), (_, first_height, first_width) = sample.shape, self._first
        crop, exact = int(self.spec.message.transform_param.crop_size), self.transform.wants_one_size
        if exact and (height, width) != (first_height, first_width):
            why = "as its mean_file has" if crop else "as the first picture has (new_height and new_width resize them)"
            expected = f"{first_height}x{first_width} pixels (height x width), {why}"
        elif not exact and min(height, width) < crop:
            expected = f"at least {crop}x{crop} pixels, crop_size"
        else:
            return
        raise InputError(self.source.where(number), expected, f"{height}x{width}")
