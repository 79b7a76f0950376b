"""Random nets of one layer for compare_layers.py: settings, bottoms and their values, right and wrong ones."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Array = npt.NDArray[np.float32]
Fields = dict[str, list[str]]

FILES = frozenset({"Data", "HDF5Data", "ImageData"})  # they read files
LOSSES = frozenset(
    "ContrastiveLoss EuclideanLoss HingeLoss InfogainLoss MultinomialLogisticLoss SigmoidCrossEntropyLoss "
    "SoftmaxWithLoss".split()
)
# bottoms that force_backward leaves without a gradient (AllowForceBackward in Caffe's layers)
UNFORCED = dict.fromkeys(LOSSES - {"EuclideanLoss"}, 1) | {"ContrastiveLoss": 2}
UNFORCED |= {"LSTM": 1, "RNN": 1}

# layers that work in place in Caffe
IN_PLACE = frozenset(
    "BNLL BatchNorm Bias Clip Dropout ELU Exp Log MVN PReLU Power ReLU Scale Sigmoid Softmax Swish TanH "
    "Threshold".split()
)
WITH_PARAMETERS = frozenset("Convolution Deconvolution Embed InnerProduct LSTM PReLU Parameter RNN".split())


@dataclass
class Case:
    """A net with the layer ``it`` fed by Input layers, and the values of their tops.

    Values of tops in ``drawn`` do not add to the loss; their gradients are given.  ``wanted`` are the bottoms whose
    gradients Caffe computes, ``fed`` the tops of ``it`` that the caller gives.  ``random`` says in which
    phases the layer draws its values.
    """

    type: str
    text: str
    bottoms: list[str]
    tops: list[str]
    given: dict[str, Array]
    seed: int
    drawn: list[str]
    wanted: set[str]
    fed: list[str]
    random: frozenset[str]


@dataclass
class Drawing:
    """One drawing: its random stream, the layer's type and settings, its bottoms, the number of its tops.

    ``wild`` allows what is wrong, or at the edge.
    """

    rng: random.Random
    type: str
    settings: Fields = field(default_factory=dict)
    bottoms: list[tuple[Shape, str]] = field(default_factory=list)  # shape, kind of values
    tops: int = 1
    wild: bool = False

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def shape(self, low: int = 1, high: int = 5, largest: int = 5) -> Shape:
        """A shape with ``low`` to ``high`` axes; three at least where a right axis is set."""
        if not self.wild and "axis" in self.settings:
            low, high = max(low, 3), max(high, 3)
        return tuple(self.rng.randint(1, largest) for _ in range(self.rng.randint(low, high)))

    def usual(self, share: float = 0.85) -> Shape:
        """A picture (N, C, H, W) of up to 8 x 8, or any other shape."""
        if self.wild and not self.chance(share):
            return self.shape()
        small = 1 if self.wild else 4
        return (*(self.rng.randint(1, 4) for _ in range(2)), *(self.rng.randint(small, 8) for _ in range(2)))

    def number(self, name: str, default: int) -> int:
        """A setting that has one value."""
        return int(self.settings[name][0]) if name in self.settings else default

    def axis(self, rank: int, name: str = "axis", default: int = 1) -> int:
        """The setting of an axis, within the bottom; where it is not, any within."""
        axis = self.number(name, default)
        return axis % rank if -rank <= axis < rank else rank - 1


# --- settings: by parameter message and field, how often it is set and to what; behind the bar are values at the edge
# or beyond it; a tuple has the values of a repeated field

AXES = "1 1 1 0 2 -1 -2 | 0 2 3 -3 4 -5 7".split()
BOOLS = ["true", "false"]
FILLERS = [
    "{ type: 'constant' value: 2 }", "{ type: 'xavier' }", "{ type: 'gaussian' std: 0.1 }", "{ type: 'uniform' }",
    "{ type: 'msra' variance_norm: FAN_OUT }", "{ type: 'positive_unitball' }", "{ }", "|", "{ type: 'bilinear' }",
    "{ type: 'gaussian' sparse: 1 }", "{ type: 'none_such' }",
]  # fmt: skip
ENGINES = ["DEFAULT", "CAFFE"]  # a Caffe without cuDNN refuses CUDNN
FLOATS = "0 1 -1 0.5 2 -2 3 0.1 -0.3".split()
Values = Sequence[str | tuple[str, ...]]

_WINDOW: dict[str, tuple[float, Values]] = {
    "num_output": (0.95, "1 2 3 4 4 6 | 0".split()),
    "kernel_size": (0.8, ["1", "2", "3", "3", "5", ("2", "3"), "|", ("1", "2", "1"), "0", "9"]),
    "kernel_h": (0.1, "1 2 3 | 0".split()),
    "kernel_w": (0.1, "1 2 3 | 0".split()),
    "stride": (0.4, ["1", "2", "3", ("2", "1"), "|", ("1", "2", "1"), "0"]),
    "stride_h": (0.05, "1 2 | 0".split()),
    "stride_w": (0.05, "1 2 3".split()),
    "pad": (0.4, ["0", "1", "2", ("1", "0"), "|", ("0", "1", "2"), "4"]),
    "pad_h": (0.05, "0 1 2".split()),
    "pad_w": (0.05, "0 1 2".split()),
    "dilation": (0.3, ["1", "2", "3", ("2", "1"), "|", ("1", "1", "2"), "0"]),
    "group": (0.3, "1 2 2 | 3 0".split()),
    "bias_term": (0.3, BOOLS),
    "weight_filler": (0.2, FILLERS),
    "bias_filler": (0.1, FILLERS),
    "axis": (0.2, AXES),
    "force_nd_im2col": (0.2, BOOLS),
    "engine": (0.2, ENGINES),
}
_SHAPES = [
    "{ dim: 2 dim: 3 }", "{ dim: 4 }", "{ dim: 1 dim: 2 dim: 3 dim: 4 }", "{ }",
    "{ dim: 2 dim: 1 dim: 1 dim: 2 dim: 3 }",
    "|", "{ dim: 0 dim: 2 }", "{ dim: -1 dim: 2 }",
]  # fmt: skip
_BASES: Values = ["2", "10", "0.5", "-1", "|", "1", "0", "-3"]
_SIZES: Values = ["1", "2", "3", "|", ("2", "1"), ("1", "2", "3"), "0"]

SETTINGS: dict[str, dict[str, tuple[float, Values]]] = {
    "accuracy_param": {
        "top_k": (0.4, "1 2 3 | 0 9".split()),
        "axis": (0.4, AXES),
        "ignore_label": (0.3, "0 1 -1 300".split()),
    },
    "argmax_param": {
        "out_max_val": (0.5, BOOLS),
        "top_k": (0.5, "1 2 2 3 | 0 9".split()),
        "axis": (0.5, AXES),
    },
    "batch_norm_param": {
        "use_global_stats": (0.4, BOOLS),
        "moving_average_fraction": (0.3, ["0.9", "0", "1", "2"]),
        "eps": (0.3, ["0.01", "0", "1e-3"]),
    },
    "bias_param": {"axis": (0.5, AXES), "num_axes": (0.4, "1 0 2 -1 | -2 3".split()), "filler": (0.2, FILLERS)},
    "clip_param": {"min": (0.9, ["-1", "0", "0.5"]), "max": (0.9, ["1", "0", "0.5"])},
    "concat_param": {"axis": (0.5, AXES), "concat_dim": (0.2, "1 0 2 | 3 4 7".split())},
    "contrastive_loss_param": {"margin": (0.6, ["1", "0.5", "3", "0", "-1"]), "legacy_version": (0.5, BOOLS)},
    "convolution_param": _WINDOW,
    "crop_param": {"axis": (0.6, AXES), "offset": (0.6, ["0", "0", "1", "|", ("1", "0"), ("0", "1", "0"), "3"])},
    "dropout_param": {"dropout_ratio": (0.5, ["0.5", "0.25", "0", "0.9", "|", "1", "2", "-1"])},
    "dummy_data_param": {
        "data_filler": (0.7, [*FILLERS[:7], "|", (FILLERS[0], FILLERS[6]), (FILLERS[0],) * 3]),
        "shape": (0.7, [*_SHAPES, (_SHAPES[0], _SHAPES[1]), (_SHAPES[0],) * 3]),
        "num": (0.3, _SIZES),
        "channels": (0.3, _SIZES),
        "height": (0.3, _SIZES),
        "width": (0.3, _SIZES),
    },
    "eltwise_param": {
        "operation": (0.8, ["SUM", "PROD", "MAX"]),
        "coeff": (0.3, [("1", "-1"), ("0.5", "2"), "|", ("1", "0", "-2"), "2"]),
        "stable_prod_grad": (0.4, BOOLS),
    },
    "elu_param": {"alpha": (0.5, FLOATS)},
    "embed_param": {
        "num_output": (0.95, "1 2 3 5 | 0".split()),
        "input_dim": (0.95, "4 6 3 1 | 0".split()),
        "bias_term": (0.4, BOOLS),
        "weight_filler": (0.2, FILLERS),
        "bias_filler": (0.1, FILLERS),
    },
    "exp_param": {"base": (0.5, _BASES), "scale": (0.5, FLOATS), "shift": (0.5, FLOATS)},
    "log_param": {"base": (0.5, _BASES), "scale": (0.5, FLOATS), "shift": (0.5, FLOATS)},
    "flatten_param": {"axis": (0.5, AXES), "end_axis": (0.5, AXES)},
    "hinge_loss_param": {"norm": (0.6, ["L1", "L2"])},
    "infogain_loss_param": {"axis": (0.5, AXES), "source": (0.05, ["'none.binaryproto'"])},
    "inner_product_param": {
        "num_output": (0.95, "1 2 3 5 | 0".split()),
        "bias_term": (0.4, BOOLS),
        "axis": (0.4, AXES),
        "transpose": (0.4, BOOLS),
        "weight_filler": (0.2, FILLERS),
        "bias_filler": (0.1, FILLERS),
    },
    "input_param": {"shape": (0.95, [*_SHAPES, (_SHAPES[0], _SHAPES[1]), (_SHAPES[0],) * 3])},
    "lrn_param": {
        "local_size": (0.6, "3 3 5 1 7 | 2 0".split()),
        "alpha": (0.6, ["1", "0.1", "0", "-0.01"]),
        "beta": (0.6, ["0.75", "0.5", "1", "2", "0"]),
        "k": (0.4, ["1", "2", "0.5"]),
        "norm_region": (0.5, ["ACROSS_CHANNELS", "WITHIN_CHANNEL"]),
        "engine": (0.2, ENGINES),
    },
    "memory_data_param": {
        "batch_size": (0.9, "1 2 | 0".split()),
        "channels": (0.9, "1 3 | 0".split()),
        "height": (0.9, "2 4 | 0".split()),
        "width": (0.9, "2 4 | 0".split()),
    },
    "mvn_param": {
        "normalize_variance": (0.5, BOOLS),
        "across_channels": (0.5, BOOLS),
        "eps": (0.3, ["1e-3", "0.1", "0"]),
    },
    "norm_param": {
        "across_spatial": (0.5, BOOLS),
        "channel_shared": (0.5, BOOLS),
        "eps": (0.3, ["1e-3"]),
        "scale_filler": (0.2, FILLERS),
    },
    "parameter_param": {"shape": (0.95, _SHAPES)},
    "pooling_param": {
        "pool": (0.7, ["MAX", "AVE", "|", "STOCHASTIC"]),
        "kernel_size": (0.8, "1 2 2 3 3 5 | 0 9".split()),
        "kernel_h": (0.15, "1 2 3 | 0".split()),
        "kernel_w": (0.15, "1 2 3 | 0".split()),
        "stride": (0.6, "1 2 2 3 4 | 0".split()),
        "stride_h": (0.06, "1 2 3 | 0".split()),
        "stride_w": (0.06, "1 2 3".split()),
        "pad": (0.4, "0 1 1 2 3 | 5".split()),
        "pad_h": (0.06, "0 1 2".split()),
        "pad_w": (0.06, "0 1 2".split()),
        "global_pooling": (0.1, ["true"]),
        "round_mode": (0.25, ["CEIL", "FLOOR"]),
        "engine": (0.2, ENGINES),
    },
    "power_param": {"power": (0.6, FLOATS), "scale": (0.6, FLOATS), "shift": (0.6, FLOATS)},
    "prelu_param": {"filler": (0.3, FILLERS), "channel_shared": (0.5, BOOLS)},
    "recurrent_param": {
        "num_output": (0.95, "1 2 3 | 0".split()),
        "weight_filler": (0.2, FILLERS),
        "bias_filler": (0.1, FILLERS),
        "debug_info": (0.1, ["false"]),
        "expose_hidden": (0.3, ["true", "false"]),
    },
    "reduction_param": {
        "operation": (0.8, ["SUM", "ASUM", "SUMSQ", "MEAN"]),
        "axis": (0.5, AXES),
        "coeff": (0.4, FLOATS),
    },
    "relu_param": {"negative_slope": (0.4, FLOATS), "engine": (0.3, ENGINES)},
    "reshape_param": {
        "shape": (
            0.95,
            [
                "{ dim: 0 dim: -1 }", "{ dim: -1 }", "{ dim: 0 dim: 0 dim: -1 }", "{ dim: 2 dim: -1 }",
                "{ dim: -1 dim: 1 }",
                "{ dim: 1 dim: -1 dim: 1 }", "|", "{ }", "{ dim: -1 dim: -1 }", "{ dim: 3 dim: 5 }",
                "{ dim: -2 dim: -1 }",
                "{ dim: 0 dim: 0 dim: 0 dim: 0 }", "{ dim: 0 }",
            ],
        ),
        "axis": (0.4, AXES),
        "num_axes": (0.4, "1 0 2 -1 | -2 3".split()),
    },
    "scale_param": {
        "axis": (0.5, AXES),
        "num_axes": (0.4, "1 0 2 -1 | -2 3".split()),
        "bias_term": (0.5, BOOLS),
        "filler": (0.2, FILLERS),
        "bias_filler": (0.1, FILLERS),
    },
    "sigmoid_param": {"engine": (0.4, ENGINES)},
    "slice_param": {
        "axis": (0.4, AXES),
        "slice_dim": (0.2, "1 0 2 | 3 4 7".split()),
        "slice_point": (0.5, ["1", "2", ("1", "2"), ("1", "3"), "|", ("2", "1"), ("1", "2", "3"), "0"]),
    },
    "softmax_param": {"axis": (0.5, AXES), "engine": (0.3, ENGINES)},
    "spp_param": {
        "pyramid_height": (0.95, "1 2 2 3 3 | 0 4".split()),
        "pool": (0.6, ["MAX", "AVE", "|", "STOCHASTIC"]),
        "engine": (0.2, ENGINES),
    },
    "swish_param": {"beta": (0.6, FLOATS)},
    "tanh_param": {"engine": (0.4, ENGINES)},
    "threshold_param": {"threshold": (0.6, FLOATS)},
    "tile_param": {"axis": (0.6, AXES), "tiles": (0.9, "1 2 3 | 0".split())},
    # of several losses
    "loss_param": {
        "ignore_label": (0.3, "0 1 -1 300".split()),
        "normalization": (0.4, ["FULL", "VALID", "BATCH_SIZE", "NONE"]),
        "normalize": (0.3, BOOLS),
    },
}  # fmt: skip


def draw_settings(rng: random.Random, message: str, wild: bool) -> Fields:
    """Values for some fields of a parameter message; only ``wild`` ones may be at the edge or beyond it."""
    drawn: Fields = {}
    for name, (share, values) in SETTINGS[message].items():
        if rng.random() < share:
            bar = values.index("|") if "|" in values else len(values)
            edge = wild and bar < len(values) and rng.random() < 0.4
            value = rng.choice(values[bar + 1 :] if edge else values[:bar])
            drawn[name] = list(value) if isinstance(value, tuple) else [value]
    if not wild and "kernel_size" in SETTINGS[message]:
        for stem, whole in (("kernel", "kernel_size"), ("stride", "stride"), ("pad", "pad")):
            _settle(rng, drawn, stem, whole)
    if not wild and message == "dummy_data_param":
        for name in _OLD_SIZES if rng.random() < 0.6 else ("shape",):
            drawn.pop(name, None)
        if "shape" not in drawn:
            drawn.update({name: drawn.get(name, ["2"]) for name in _OLD_SIZES})
    if not wild:
        _repair(rng, message, drawn)
    return drawn


_OLD_SIZES = ("num", "channels", "height", "width")
# pairs of fields of which a layer takes one
_EITHER = (("axis", "concat_dim"), ("axis", "slice_dim"))


def _repair(rng: random.Random, message: str, drawn: Fields) -> None:
    """Make settings right that contradict each other, or are missing."""
    for pair in _EITHER:
        if all(name in drawn for name in pair):
            drawn.pop(rng.choice(pair))
    if drawn.get("operation") == ["PROD"]:
        drawn.pop("coeff", None)
    if message == "pooling_param" and not {"pad", "pad_h", "pad_w"}.isdisjoint(drawn):
        for stem in ("kernel", "pad"):
            for name in (stem, f"{stem}_size", f"{stem}_h", f"{stem}_w"):
                if name in drawn:
                    drawn[name] = ["3" if stem == "kernel" else rng.choice("012")]
    for name, (share, values) in SETTINGS[message].items():
        if share > 0.8 and name not in drawn and name != "source":
            drawn[name] = [str(values[0])]


def _settle(rng: random.Random, drawn: Fields, stem: str, whole: str) -> None:
    """Keep the whole of a window's setting, or its two halves."""
    halves = [f"{stem}_h", f"{stem}_w"]
    if "global_pooling" in drawn:
        gone = [whole, *halves]
    elif any(name in drawn for name in halves) and rng.random() < 0.5:
        drawn.update({name: drawn.get(name, ["1"]) for name in halves})
        gone = [whole]
    else:
        gone = halves
        if stem == "kernel":
            drawn.setdefault(whole, ["2"])
    for name in gone:
        drawn.pop(name, None)


# --- bottoms, by layer type


def _one(d: Drawing) -> None:
    d.bottoms = [(d.shape(), d.rng.choice(["normal", "normal", "grid", "positive"]))]


def _picture(d: Drawing) -> None:
    d.bottoms = [(d.usual(), d.rng.choice(["normal", "normal", "grid"]))]


def _matrix(d: Drawing) -> None:
    d.bottoms = [(d.shape(2, 5), "normal")]


def _logarithm(d: Drawing) -> None:
    d.bottoms = [(d.shape(), "positive" if d.chance(0.8) else "normal")]


def _labels(d: Drawing, shape: Shape, axis: int, kind: str) -> list[tuple[Shape, str]]:
    """Scores along ``axis`` and their labels, as a row or with the scores' other axes."""
    others = shape[:axis] + shape[axis + 1 :]
    labels = d.rng.choice(
        [*[(math.prod(others),)] * (d.wild or d.type == "Accuracy"), others, (*shape[:axis], 1, *shape[axis + 1 :])]
    )
    return [(shape, kind), (labels, f"label {shape[axis]}")]


def _accuracy(d: Drawing) -> None:
    shape = d.shape(2, 5)
    d.bottoms = _labels(d, shape, d.axis(len(shape)), d.rng.choice(["normal", "grid"]))
    d.tops = d.rng.choice([1, 1, 2])


def _softmax_loss(d: Drawing) -> None:
    shape = d.shape(2, 5)
    d.bottoms = _labels(d, shape, d.axis(len(shape)), "normal")
    d.tops = d.rng.choice([0, 1, 1, 2])


def _infogain(d: Drawing) -> None:
    shape = d.shape(2, 5)
    classes = shape[d.axis(len(shape))]
    d.bottoms = _labels(d, shape, d.axis(len(shape)), "normal")
    if d.chance(0.9):
        d.bottoms.append(
            (d.rng.choice([(classes, classes), (1, 1, classes, classes), (1, classes, classes)]), "normal")
        )
    d.tops = d.rng.choice([0, 1, 1, 2])


def _flat_labels(d: Drawing) -> None:
    shape = d.shape(1, 5, 4)
    labels = d.rng.choice([(shape[0],), (shape[0], 1), (shape[0], 1, 1, 1), (shape[0], 1, 1, 1, 1)])
    kind = "share" if d.type == "MultinomialLogisticLoss" else d.rng.choice(["normal", "grid"])
    d.bottoms = [(shape, kind), (labels, f"label {math.prod(shape[1:])}")]
    d.tops = d.rng.choice([0, 1, 1])


def _other_shape(d: Drawing, shape: Shape) -> Shape:
    """A shape with as many values, and mostly as many rows."""
    rest = math.prod(shape[1:])
    return d.rng.choice(
        [shape, shape, (shape[0], rest), (shape[0], rest, 1, 1), (shape[0], 1, rest), (math.prod(shape),)]
    )


def _two_alike(d: Drawing) -> None:
    shape = d.shape()
    kind = "share" if d.type == "SigmoidCrossEntropyLoss" and d.chance(0.7) else "grid"
    d.bottoms = [(shape, "normal"), (_other_shape(d, shape), kind)]
    d.tops = d.rng.choice([0, 1, 1])


def _contrastive(d: Drawing) -> None:
    n, c = d.rng.randint(1, 5), d.rng.randint(1, 5)
    shapes = [(n, c), (n, c), (n, c, 1), (n, c, 1, 1), *([(n, c, 1, 2), (n,), (n, c, 1, 1, 1)] if d.wild else [])]
    first = d.rng.choice(shapes)
    second = first if d.chance(0.7) else d.rng.choice(shapes)
    d.bottoms = [
        (first, "normal"),
        (second, "normal"),
        (d.rng.choice([(n,), (n,), (n, 1), (n, 1, 1, 1), *[(n, 2)] * d.wild]), "label 2"),
    ]
    d.tops = d.rng.choice([0, 1, 1])


def _several_alike(d: Drawing) -> None:
    shape = d.shape(0 if d.chance(0.05) else 1, 5, 4)
    d.bottoms = [(shape, d.rng.choice(["normal", "grid"])) for _ in range(d.rng.choice([2, 2, 2, 3, 1]))]
    if d.type == "Silence":
        d.tops = 0


def _concat(d: Drawing) -> None:
    shape = list(d.shape(1, 5, 3))
    axis = d.axis(len(shape), "concat_dim" if "concat_dim" in d.settings else "axis")
    for _ in range(d.rng.choice([1, 2, 2, 3])):
        shape[axis] = d.rng.randint(1, 3)
        d.bottoms.append((tuple(shape), "normal"))


def _convolved(d: Drawing) -> None:
    d.bottoms = [(d.usual() if d.chance(0.8) else d.shape(2, 5, 6), "normal")]
    if d.type != "Im2col" and d.chance(0.15):
        d.bottoms *= 2
        d.tops = 2


def _crop(d: Drawing) -> None:
    shape = d.shape(1, 5, 6)
    d.bottoms = [(shape, "normal"), (tuple(d.rng.randint(1, size) for size in shape), "normal")]


def _embed(d: Drawing) -> None:
    d.bottoms = [(d.shape(1, 3), f"label {max(1, d.number('input_dim', 1))}")]


def _filter(d: Drawing) -> None:
    n, blobs = d.rng.randint(1, 5), d.rng.choice([1, 1, 2])
    d.bottoms = [((n, *d.shape(0, 3)), "normal") for _ in range(blobs)]
    d.bottoms.append((d.rng.choice([(n,), (n, 1), (n, 1, 1, 1), *[(n, 2)] * d.wild]), "label 2"))
    d.tops = blobs


def _reindex(d: Drawing) -> None:
    n, m = d.rng.randint(1, 5), d.rng.randint(1, 5)
    d.bottoms = [((n, *d.shape(0, 4)), "normal"), (d.rng.choice([(m,), *[(m, 1)] * d.wild]), f"label {n}")]


def _broadcast(d: Drawing) -> None:
    shape = d.shape(1, 5, 4)
    d.bottoms = [(shape, d.rng.choice(["normal", "grid"]))]
    if d.chance(0.4):
        axis = d.axis(len(shape))
        d.bottoms.append((shape[axis : axis + d.rng.randint(0, len(shape) - axis)], "normal"))


def _slice(d: Drawing) -> None:
    d.bottoms = [(d.shape(1, 5, 6), "normal")]
    points = len(d.settings.get("slice_point", ()))
    d.tops = points + 1 if points else d.rng.choice([1, 2, 2, 3])


def _sequence(d: Drawing) -> None:
    steps, streams = d.rng.randint(1, 4), d.rng.randint(1, 3)
    d.bottoms = [((steps, streams, *d.shape(1, 2, 3)), "normal"), ((steps, streams), "label 2")]
    if d.chance(0.3):
        d.bottoms.append(((streams, d.rng.randint(1, 3)), "normal"))
    if d.settings.get("expose_hidden") == ["true"]:
        states = 2 if d.type == "LSTM" else 1
        d.bottoms += [((1, streams, d.number("num_output", 1)), "normal")] * states
        d.tops = 1 + states


def _split(d: Drawing) -> None:
    d.bottoms, d.tops = [(d.shape(), "normal")], d.rng.choice([1, 2, 3])


def _pooled(d: Drawing) -> None:
    _picture(d)
    d.tops = 2 if d.type == "Pooling" and d.chance(0.15) else 1


def _feeding(d: Drawing) -> None:
    d.tops = d.rng.choice([1, 1, 2, 3]) if d.type != "MemoryData" else 2


BOTTOMS: dict[str, Callable[[Drawing], None]] = {
    "Accuracy": _accuracy,
    "BatchReindex": _reindex,
    "Bias": _broadcast,
    "Concat": _concat,
    "ContrastiveLoss": _contrastive,
    "Convolution": _convolved,
    "Crop": _crop,
    "Deconvolution": _convolved,
    "DummyData": _feeding,
    "Eltwise": _several_alike,
    "Embed": _embed,
    "EuclideanLoss": _two_alike,
    "Filter": _filter,
    "HingeLoss": _flat_labels,
    "Im2col": _convolved,
    "InfogainLoss": _infogain,
    "Input": _feeding,
    "LRN": _picture,
    "LSTM": _sequence,
    "RNN": _sequence,
    "Log": _logarithm,
    "MVN": _picture,
    "MemoryData": _feeding,
    "MultinomialLogisticLoss": _flat_labels,
    "Normalize": _picture,
    "PReLU": _matrix,
    "Parameter": lambda d: None,
    "Pooling": _pooled,
    "SPP": _picture,
    "Scale": _broadcast,
    "SigmoidCrossEntropyLoss": _two_alike,
    "Silence": _several_alike,
    "Slice": _slice,
    "SoftmaxWithLoss": _softmax_loss,
    "Split": _split,
}


def _disturb(d: Drawing) -> None:
    """Now and then a wrong number of bottoms or tops, or another shape."""
    if not d.wild:
        return
    if d.chance(0.1) and d.bottoms:
        d.bottoms.pop()
    if d.chance(0.08):
        d.bottoms.append((d.shape(), "normal"))
    if d.chance(0.08):
        d.tops = max(0, d.tops + d.rng.choice([-1, 1]))
    if d.chance(0.3) and d.bottoms:
        at = d.rng.randrange(len(d.bottoms))
        shape, kind = list(d.bottoms[at][0]), d.bottoms[at][1]
        place = d.rng.randint(0, len(shape))
        change = d.rng.choice(["drop", "add", "size"])
        if change == "add":
            shape.insert(place, d.rng.choice([1, 1, 2]))
        elif shape:
            place = min(place, len(shape) - 1)
            shape[place : place + 1] = {"drop": [], "size": [d.rng.randint(1, 6)]}[change]
        d.bottoms[at] = tuple(shape), kind


def _values(kind: str, shape: Shape, stream: np.random.RandomState) -> Array:
    if kind.startswith("label"):
        return stream.randint(0, max(1, int(kind.split()[1])), shape).astype(np.float32)
    values: npt.NDArray[np.floating] = stream.standard_normal(shape).astype(np.float32)
    if kind == "grid":
        values = np.round(values * 2) / 2
    elif kind == "positive":
        values = np.abs(values) + 0.1
    elif kind == "share":
        values = 1 / (1 + np.exp(-values))
    return np.asarray(values, np.float32)


def _text(fields: Fields) -> str:
    """Prototxt of drawn settings."""
    return " ".join(f"{name}{'' if v.startswith('{') else ':'} {v}" for name, values in fields.items() for v in values)


def _of_layer(d: Drawing) -> tuple[str, list[float] | None, list[bool] | None]:
    """Settings that every layer has: their text, the loss weights and propagate_down."""
    text, weights, passes = "", None, None
    right = 0.7 if d.wild else 1.0
    if d.chance(0.1) and d.tops:
        weights = [d.rng.choice([1.0, 0.0, 2.0, -0.5]) for _ in range(d.tops if d.chance(right) else d.tops + 1)]
        text += "".join(f" loss_weight: {w:g}" for w in weights)
    if d.chance(0.08) and d.bottoms:
        passes = [d.chance(0.5) for _ in range(len(d.bottoms) if d.chance(right) else len(d.bottoms) + 1)]
        text += "".join(f" propagate_down: {str(p).lower()}" for p in passes)
    if d.chance(0.08) and (d.wild or d.type in WITH_PARAMETERS):
        text += "".join(f" param {{ lr_mult: {d.rng.choice([0, 1, 2])} }}" for _ in range(d.rng.randint(1, 3)))
    return text, weights, passes


def draw(type_name: str, message: str | None, number: int, seed: int) -> Case:
    """Case ``number`` of a layer type whose settings are in ``message``."""
    rng = random.Random(f"{seed} {type_name} {number}")
    d = Drawing(rng, type_name)
    d.wild = d.chance(0.3)
    if message:
        d.settings = draw_settings(rng, message, d.wild)
    BOTTOMS.get(type_name, _one)(d)
    _disturb(d)
    bottoms = [f"x{i}" for i in range(len(d.bottoms))]
    if len(bottoms) > 1 and type_name not in LOSSES and d.bottoms[0] == d.bottoms[1] and d.chance(0.05):
        bottoms[1] = bottoms[0]
    tops = [f"y{i}" for i in range(d.tops)]
    if bottoms and tops and len(set(bottoms)) == len(bottoms) and d.chance(0.2 if type_name in IN_PLACE else 0.03):
        tops[0] = bottoms[0]
    more, weights, passes = _of_layer(d)
    if type_name in LOSSES and d.chance(0.5):
        more += f" loss_param {{ {_text(draw_settings(rng, 'loss_param', d.wild))} }}"
    shapes = {name: shape for name, (shape, _) in zip(bottoms, d.bottoms, strict=True)}
    text = "force_backward: true\n" + "".join(
        f"layer {{ name: 'in_{name}' type: 'Input' top: '{name}' "
        f"input_param {{ shape {{ {' '.join(f'dim: {size}' for size in shape)} }} }} }}\n"
        for name, shape in shapes.items()
    )
    own = f" {message} {{ {_text(d.settings)} }}" if message and d.settings else ""
    text += f"layer {{ name: 'it' type: '{type_name}'"
    text += "".join(f" bottom: '{name}'" for name in bottoms) + "".join(f" top: '{name}'" for name in tops)
    text += f"{own}{more} }}\n"
    number_seed = rng.randrange(1 << 30)
    stream = np.random.RandomState(number_seed)
    given = {name: _values(kind, shape, stream) for name, (shape, kind) in zip(bottoms, d.bottoms, strict=True)}
    unforced = UNFORCED.get(type_name)
    asked = [i != unforced or bool(passes and i < len(passes) and passes[i]) for i in range(len(bottoms))]
    if weights is None:
        weights = [1.0 if type_name in LOSSES and i == 0 else 0.0 for i in range(len(tops))]
    return Case(
        type=type_name,
        text=text,
        bottoms=list(dict.fromkeys(bottoms)),
        tops=tops,
        given=given,
        seed=number_seed,
        drawn=[name for name, weight in zip(tops, weights, strict=False) if weight == 0],
        wanted={name for name, wants in zip(bottoms, asked, strict=True) if wants},
        fed=tops if type_name == "Input" else [],
        random=_random_phases(type_name, d.settings),
    )


def _random_phases(type_name: str, settings: Fields) -> frozenset[str]:
    if type_name == "Dropout":
        return frozenset({"TRAIN"})
    fillers = " ".join(settings.get("data_filler", ()))
    if type_name == "DummyData" and any(
        kind in fillers for kind in ("xavier", "gaussian", "uniform", "msra", "unitball")
    ):
        return frozenset({"TRAIN", "TEST"})
    return frozenset()
