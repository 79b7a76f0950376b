"""Upgrades nets of Caffe's older forms to today's, as Caffe does when it reads a file.

Four older constructs are upgraded: V0 layers (``layers { layer { type: "conv" } }``, with padding as a layer of its
own), V1 layers (``layers { type: CONVOLUTION }``, with rates as ``blobs_lr``), data transformations inside
``data_param``, and ``input`` fields of the net.  Afterwards the net has ``layer`` only, and the table of lines uses the
new field paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from siamplex.schema import messages
from siamplex.schema.locations import Path
from siamplex.schema.old_messages import V0_TYPES, V1_TYPES

Refuse = Callable[..., Exception]
Step = tuple[str | int, ...]

# fields of a V0 layer, by its type ("" for any): the message and field they are today
_V0_FIELDS: dict[str, dict[str, str]] = {
    "num_output": {"conv": "convolution_param.num_output", "innerproduct": "inner_product_param.num_output"},
    "biasterm": {"conv": "convolution_param.bias_term", "innerproduct": "inner_product_param.bias_term"},
    "weight_filler": {"conv": "convolution_param.weight_filler", "innerproduct": "inner_product_param.weight_filler"},
    "bias_filler": {"conv": "convolution_param.bias_filler", "innerproduct": "inner_product_param.bias_filler"},
    "pad": {"conv": "convolution_param.pad", "pool": "pooling_param.pad"},
    "kernelsize": {"conv": "convolution_param.kernel_size", "pool": "pooling_param.kernel_size"},
    "group": {"conv": "convolution_param.group"},
    "stride": {"conv": "convolution_param.stride", "pool": "pooling_param.stride"},
    "pool": {"pool": "pooling_param.pool"},
    "dropout_ratio": {"dropout": "dropout_param.dropout_ratio"},
    "local_size": {"lrn": "lrn_param.local_size"},
    "alpha": {"lrn": "lrn_param.alpha"},
    "beta": {"lrn": "lrn_param.beta"},
    "k": {"lrn": "lrn_param.k"},
    "source": {
        "data": "data_param.source",
        "hdf5_data": "hdf5_data_param.source",
        "images": "image_data_param.source",
        "window_data": "window_data_param.source",
        "infogain_loss": "infogain_loss_param.source",
    },
    "batchsize": {
        "data": "data_param.batch_size",
        "hdf5_data": "hdf5_data_param.batch_size",
        "images": "image_data_param.batch_size",
        "window_data": "window_data_param.batch_size",
    },
    "scale": {"": "transform_param.scale"},
    "meanfile": {"": "transform_param.mean_file"},
    "cropsize": {"": "transform_param.crop_size"},
    "mirror": {"": "transform_param.mirror"},
    "rand_skip": {"data": "data_param.rand_skip", "images": "image_data_param.rand_skip"},
    "shuffle_images": {"images": "image_data_param.shuffle"},
    "new_height": {"images": "image_data_param.new_height"},
    "new_width": {"images": "image_data_param.new_width"},
    "concat_dim": {"concat": "concat_param.concat_dim"},
    "det_fg_threshold": {"window_data": "window_data_param.fg_threshold"},
    "det_bg_threshold": {"window_data": "window_data_param.bg_threshold"},
    "det_fg_fraction": {"window_data": "window_data_param.fg_fraction"},
    "det_context_pad": {"window_data": "window_data_param.context_pad"},
    "det_crop_mode": {"window_data": "window_data_param.crop_mode"},
    "hdf5_output_param": {"hdf5_output": "hdf5_output_param"},
}

_RATES = {"blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
_PARAM_SPECS = {**_RATES, "param": "name", "blob_share_mode": "share_mode"}
_TRANSFORMED = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}
_TRANSFORMATIONS = ("scale", "mean_file", "crop_size", "mirror")


@dataclass
class _Placed:
    """An upgraded layer, its original path, and the new paths of its fields."""

    message: Any
    where: Step
    renamed: Callable[[Path], Path | None]


def needs_upgrade(net: Any) -> bool:
    """Whether a NetParameter is of an older form than today's."""
    statistics = any(layer.type == "BatchNorm" and len(layer.param) == 3 for layer in net.layer)
    return bool(net.layers or net.input or statistics)


def upgrade_net(net: Any, lines: dict[Path, int], where: Path, refuse: Refuse) -> None:
    """Bring a NetParameter at path ``where`` up to date in place, ``lines`` too.

    ``refuse(what, *path)`` makes the error for a fault that stands at a path; it is raised.
    """
    oldest = any(old.HasField("layer") for old in net.layers)
    if net.layers and net.layer:
        caffe = "Caffe leaves every 'layer' out" if oldest else "Caffe refuses to upgrade such a net"
        raise refuse(f"'layer' beside 'layers', the old form: {caffe}; use one form", *where, "layer", 0)
    if oldest:
        net.ClearField("input_shape")  # Caffe's upgrade of the oldest form does not know it
    if net.layers:
        placed = list(_from_v0(net, where, refuse) if oldest else _from_v1(net))
    else:
        placed = [_Placed(layer, ("layer", i), lambda rest: rest) for i, layer in enumerate(net.layer)]
    if net.input:
        placed.insert(0, _inputs(net, where, refuse))
    for layer in (p.message for p in placed):
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            layer.ClearField("param")  # its statistics never had rates
    if net.layers or net.input:
        _move_lines(lines, where, placed)
        layers = [messages.LayerParameter.FromString(p.message.SerializeToString()) for p in placed]
        for field in ("layers", "layer", "input", "input_dim", "input_shape"):
            net.ClearField(field)
        net.layer.extend(layers)


def _move_lines(lines: dict[Path, int], where: Path, placed: list[_Placed]) -> None:
    depth = len(where)
    at: dict[Step, list[tuple[Path, int]]] = {}
    for path, line in list(lines.items()):
        if path[:depth] == where and len(path) >= depth + 2:
            at.setdefault(path[depth : depth + 2], []).append((path[depth + 2 :], line))
            if path[depth] in ("layer", "layers"):
                del lines[path]
    for number, one in enumerate(placed):
        for rest, line in at.get(one.where, ()):
            new = one.renamed(rest)
            if new is not None:
                path = (*where, "layer", number, *new)
                lines[path] = line


# --- inputs beside the layers


def _inputs(net: Any, where: Path, refuse: Refuse) -> _Placed:
    """The Input layer that Caffe puts before all others for ``input`` with ``input_shape`` or ``input_dim``.

    Shapes and sizes beyond those of the inputs have no effect.
    """
    inputs = list(net.input)
    layer = messages.LayerParameter(name="input", type="Input", top=inputs)
    dims = [int(d) for d in net.input_dim]
    if net.input_shape:
        if len(net.input_shape) < len(inputs):
            what = f"{len(inputs)} inputs with {len(net.input_shape)} shapes"
            raise refuse(what, *where, "input_shape", 0)
        layer.input_param.shape.extend(net.input_shape[: len(inputs)])
    elif not dims:
        what = f"input '{inputs[0]}' has no shape; state one for each input: input_shape {{ dim: 1 dim: 3 dim: 28 }}"
        raise refuse(what, *where, "input", 0)
    else:
        if len(dims) < 4 * len(inputs):
            raise refuse(f"{len(inputs)} inputs with {len(dims)} input_dim, not four each", *where, "input_dim", 0)
        for start in range(0, 4 * len(inputs), 4):
            layer.input_param.shape.add(dim=dims[start : start + 4])
    return _Placed(layer, ("input", 0), lambda rest: rest)


# --- V1


def _from_v1(net: Any) -> Iterator[_Placed]:
    for index, old in enumerate(net.layers):
        layer = messages.LayerParameter(name=old.name, type=V1_TYPES[old.type], bottom=old.bottom, top=old.top)
        if not old.HasField("name"):
            layer.ClearField("name")
        for descriptor, value in old.ListFields():
            field = descriptor.name
            if field in _PARAM_SPECS:
                _add_param_specs(layer, _PARAM_SPECS[field], value)
            elif field in ("include", "exclude", "blobs", "loss_weight"):
                getattr(layer, field).extend(value)
            elif field.endswith("_param"):
                getattr(layer, field).CopyFrom(value)
        moved = _move_transformation(layer)
        yield _Placed(layer, ("layers", index), partial(_renamed_v1, moved=moved))


def _add_param_specs(layer: Any, field: str, values: Any) -> None:
    while len(layer.param) < len(values):
        layer.param.add()
    for spec, value in zip(layer.param, values, strict=False):
        setattr(spec, field, value)


def _move_transformation(layer: Any) -> str:
    """Move the old data transformation fields of a layer to its transform_param; the message they stood in, if any."""
    field = _TRANSFORMED.get(layer.type, "")
    if not field or not layer.HasField(field):
        return ""
    settings, moved = getattr(layer, field), ""
    for name in _TRANSFORMATIONS:
        if settings.HasField(name):
            setattr(layer.transform_param, name, getattr(settings, name))
            settings.ClearField(name)
            moved = field
    return moved


def _renamed_v1(rest: Path, moved: str) -> Path:
    if len(rest) >= 2 and rest[0] in _PARAM_SPECS:
        return ("param", rest[1], _PARAM_SPECS[str(rest[0])], 0)
    if len(rest) == 4 and rest[0] == moved and rest[2] in _TRANSFORMATIONS:
        return ("transform_param", 0, *rest[2:])
    return rest


# --- V0


def _from_v0(net: Any, where: Path, refuse: Refuse) -> Iterator[_Placed]:
    for index, old, pad in _without_padding(net, where, refuse):
        v0 = old.layer
        kind = str(v0.type)
        if v0.HasField("type") and kind not in V0_TYPES:
            known = ", ".join(sorted(V0_TYPES))
            what = f"layer '{v0.name}': type '{kind}' is none of the oldest form's, layers {{ layer {{ }} }} ({known})"
            raise refuse(what, *where, "layers", index, "layer", 0, "type", 0)
        layer = messages.LayerParameter(bottom=old.bottom, top=old.top)
        if v0.HasField("name"):
            layer.name = v0.name
        layer.type = V0_TYPES.get(kind, "")
        layer.blobs.extend(v0.blobs)
        for field, name in _RATES.items():
            _add_param_specs(layer, name, getattr(v0, field))
        for descriptor, value in v0.ListFields():
            target = _v0_target(descriptor.name, kind)
            if target:
                _assign(layer, target, value)
        if pad is not None:
            target = _v0_target("pad", kind)
            assert target
            _assign(layer, target, pad)
        yield _Placed(layer, ("layers", index), partial(_renamed_v0, kind=kind))


def _v0_target(field: str, kind: str) -> list[str] | None:
    """Message and field of today for a V0 layer's field; None for one that its type does not have (Caffe drops it)."""
    by_type = _V0_FIELDS.get(field, {})
    target = by_type.get("") or by_type.get(kind)
    return target.split(".") if target else None


def _assign(layer: Any, target: list[str], value: Any) -> None:
    holder = layer
    for name in target[:-1]:
        holder = getattr(holder, name)
    field = holder.DESCRIPTOR.fields_by_name[target[-1]]
    if field.message_type is not None:
        getattr(holder, field.name).CopyFrom(value)
    elif hasattr(getattr(holder, field.name), "append"):  # a list today
        del getattr(holder, field.name)[:]
        getattr(holder, field.name).append(value)
    else:
        setattr(holder, field.name, value)


def _renamed_v0(rest: Path, kind: str) -> Path | None:
    if len(rest) < 2 or rest[0] != "layer":
        return rest if not rest or rest[0] in ("bottom", "top") else None
    inner = rest[2:]
    if inner and inner[0] in _RATES:
        return ("param", inner[1], _RATES[str(inner[0])], 0)
    target = _v0_target(str(inner[0]), kind) if inner else None
    if target:
        return (*(step for name in target for step in (name, 0)), *inner[2:])
    return inner


def _without_padding(net: Any, where: Path, refuse: Refuse) -> Iterator[tuple[int, Any, int | None]]:
    """The layers, padding folded into what reads it: place in ``layers``, message, padding of its input."""
    writer: dict[str, int] = {str(name): -1 for name in net.input}
    for index, old in enumerate(net.layers):
        one = messages.V1LayerParameter.FromString(old.SerializeToString())
        pad: int | None = None
        kind = str(old.layer.type)
        for number, name in enumerate(old.bottom):
            at = ("layers", index, "bottom", number)
            if name not in writer:
                raise refuse(f"layer '{old.layer.name}': bottom '{name}' is no top of a layer before it", *where, *at)
            if writer[name] < 0 or net.layers[writer[name]].layer.type != "padding":
                continue
            source = net.layers[writer[name]]
            if kind not in ("conv", "pool") or [len(old.bottom), len(source.bottom), len(source.top)] != [1, 1, 1]:
                what = f"layer '{old.layer.name}': only a conv or pool layer of one bottom may read a padding layer"
                raise refuse(what, *where, *at)
            pad = int(source.layer.pad)
            one.bottom[number] = source.bottom[0]
        for name in old.top:
            writer[str(name)] = index
        if kind != "padding":
            yield index, one, pad
