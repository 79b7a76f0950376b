"""Data layers whose source is missing: what the file tells of their shapes all the same."""

from __future__ import annotations

from dataclasses import dataclass

from siamplex.engine.net.layer import LayerSpec, Shape
from siamplex.engine.net.layer_types import create
from siamplex.errors import InputError, PrototxtError
from siamplex.schema.prototxt import Prototxt

# layers that read files: their settings message, and the field that names the source
SOURCES = {
    "Data": ("data_param", "source"),
    "ImageData": ("image_data_param", "source"),
    "HDF5Data": ("hdf5_data_param", "source"),
    "WindowData": ("window_data_param", "source"),
}

_LABELS = ("label", "lab", "target", "gt", "sim", "truth", "class", "cont", "weight", "mask")


@dataclass(frozen=True)
class Source:
    """A layer whose source is missing: its place, its batch size, and what it states of channels and image size.

    ``counted`` says whether the batch size is the file's own, and not a 1 in its place.
    """

    index: int
    spec: LayerSpec
    missing: str
    batch: int
    channels: int | None
    size: tuple[int, int] | None
    counted: bool = True

    @property
    def tops(self) -> list[str]:
        return [str(top) for top in self.spec.message.top]

    @property
    def free(self) -> bool:
        """Whether its blobs may have any shape; the other layers give (N, C, H, W) and a label a sample."""
        return self.spec.type == "HDF5Data"

    def is_labels(self, top: str) -> bool:
        """Whether a top holds a label a sample, whatever the source holds."""
        return not self.free and self.tops.index(top) > 0

    def seems_labels(self, top: str) -> bool:
        """Whether a top holds labels, by its place, or by its name where it may have any shape."""
        return self.is_labels(top) or (self.free and any(word in top.lower() for word in _LABELS))

    def holds(self, shape: Shape) -> Shape | None:
        """``shape`` as samples of this source may have it, with axes of 1 where it gives four; None if they cannot."""
        if self.free:
            return shape
        if len(shape) > 4:
            return None
        full = (*shape, 1, 1, 1)[:4]
        fits = self.channels in (None, full[1]) and self.size in (None, full[2:])
        return full if fits else None

    def told(self) -> str:
        """The part of the shape that the file states, in words."""
        p = self.spec.message.transform_param
        words = ["crop_size" if p.crop_size else "new_height and new_width"] if self.size else []
        return " and ".join([*words, *(["mean values or colour"] if self.channels else [])])


def missing_source(index: int, spec: LayerSpec) -> Source | None:
    """The layer's :class:`Source` if its source is missing; None for any other layer."""
    if spec.type not in SOURCES:
        return None
    param, name_field = SOURCES[spec.type]
    p, transform = getattr(spec.message, param), spec.message.transform_param
    name, mean = str(getattr(p, name_field)), str(transform.mean_file)
    lost = [said for file in (name, mean) if file and (said := why_lost(spec.source, file))]
    told = bool(name) and (p.HasField("batch_size") or spec.type not in ("Data", "HDF5Data"))
    if not told:  # a program fills it in, as DIGITS does
        unset = "batch_size" if name else "source"
        lost.insert(0, f"it states no {unset}, which a program must fill in{_misplaced(spec, param)}")
    try:
        if told:
            layer = create(spec)  # its settings are looked at all the same
            if not lost:
                layer.setup([])
                return None
    except PrototxtError as error:
        if not any(f"'{file}'" in str(error) for file in (name, mean) if file):  # a fault of the settings
            raise
        lost = lost or [str(error)]
    except InputError as error:  # one of the files that what it names does name
        lost = [str(error)]
    said = f"layer '{spec.name}' ({spec.type}): {'; '.join(lost)}"
    channels = len(transform.mean_value) if len(transform.mean_value) > 1 else None
    if transform.force_gray or (spec.type == "ImageData" and not p.is_color):
        channels = 1
    elif transform.force_color or spec.type in ("ImageData", "WindowData"):
        channels = 3
    crop = int(transform.crop_size)
    size = (crop, crop) if crop else None
    if size is None and spec.type == "ImageData" and p.new_height and p.new_width:
        size = int(p.new_height), int(p.new_width)
    counted = p.HasField("batch_size") or told
    return Source(index, spec, said, max(int(p.batch_size), 1), channels, size, counted)


def _misplaced(spec: LayerSpec, own: str) -> str:
    """Which settings of another data layer's type stand in a layer; empty if none do."""
    given = [other for other, _ in SOURCES.values() if other != own and spec.message.HasField(other)]
    return f" ({given[0]} is not read by type {spec.type})" if given else ""


def why_lost(source: Prototxt, name: str) -> str | None:
    """The error text for a path that is missing or not allowed; None for one that exists."""
    try:
        return None if source.find(name).exists() else f"{name} is not there"
    except (OSError, ValueError):
        return f"{name} is no path"
    except InputError:
        return f"{name} lies elsewhere, and is not looked at"
