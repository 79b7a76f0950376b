"""The tower of the paper, once or as twins: AlexNet's conv1-3, then fc4, fc5, fc6."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from siamplex.errors import UsageError
from siamplex.schema import messages
from siamplex.schema.messages import enum_value

TWIN = "_p"  # suffix of the second tower's layers, as in Caffe's own Siamese example


@dataclass(frozen=True)
class Architecture:
    """What the paper fixes, and what it leaves open.

    ``conv2_group`` 2 is AlexNet's (5x5x48 kernels, the only one its weights fit as they are); 1
    is what the paper's "5x5x96" says.  ``pool3`` adds a pooling after conv3, which the paper does
    not mention.  ``new_lr_mult`` is lr_mult of the new layers fc4-6 (twice that for their biases): with
    1 all layers learn at base_lr.  ``width`` scales the number of channels and units and ``size`` the input, for
    runs at a reduced size; the paper's are 1 and 227.
    """

    size: int = 227
    width: float = 1.0
    conv2_group: int = 2
    pool3: bool = False
    dropout: float = 0.5
    margin: float = 1.0
    embedding: int = 2
    lrn_alpha: float = 1e-4
    new_lr_mult: float = 1.0

    def __post_init__(self) -> None:
        if self.conv2_group not in (1, 2):
            raise UsageError(f"--conv2-group: expected 1 or 2, found {self.conv2_group}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"--dropout: expected 0 up to 1, found {self.dropout:g}")
        if self.size < 35:
            raise UsageError(f"--size: expected at least 35 pixels, found {self.size}")
        if not 0 < self.width <= 8:
            raise UsageError(f"--width: expected a factor up to 8, found {self.width:g}")
        if not 0 < self.new_lr_mult < math.inf:
            raise UsageError(f"--new-lr-mult: expected a factor above 0, found {self.new_lr_mult:g}")
        if self.margin <= 0:
            raise UsageError(f"--margin: expected more than 0, found {self.margin:g}")

    def units(self, full: int) -> int:
        """Channels or units at this width, kept even so that two groups fit."""
        return full if self.width == 1 else max(2, 2 * round(full * self.width / 2))


def layer(name: str, kind: str, bottoms: str | list[str], tops: str | list[str], **settings: Any) -> Any:
    """A LayerParameter; ``settings`` are its fields, messages given as dicts."""
    message = messages.LayerParameter(name=name, type=kind, **settings)
    message.bottom.extend([bottoms] if isinstance(bottoms, str) else bottoms)
    message.top.extend([tops] if isinstance(tops, str) else tops)
    return message


def _params(name: str, rate: float) -> list[dict[str, Any]]:
    """Weight and bias shared by name; biases learn twice as fast and do not decay, as AlexNet's."""
    if not rate:
        return [{"name": f"{name}_{x}", "lr_mult": 0, "decay_mult": 0} for x in "wb"]
    return [
        {"name": f"{name}_w", "lr_mult": rate, "decay_mult": 1},
        {"name": f"{name}_b", "lr_mult": 2 * rate, "decay_mult": 0},
    ]


def _filler(kind: str, value: float | None = None) -> dict[str, Any]:
    return {"type": kind} if value is None else {"type": kind, "value": value}


def tower(
    arch: Architecture, bottom: str, *, twin: str = "", freeze_conv: bool = False, train: bool = True
) -> list[Any]:
    """Layers of one tower from the blob ``bottom`` to fc6, named with the suffix ``twin``.

    ``freeze_conv`` sets the rates of conv1-3 to 0 (stage 1).  ``train`` adds dropout and the
    rates, which a deploy net does without.
    """
    maximum = enum_value("PoolMethod", "MAX")
    layers: list[Any] = []
    here = bottom

    def conv(name: str, full: int, kernel: int, bias: float, **more: Any) -> None:
        nonlocal here
        settings: dict[str, Any] = {
            "convolution_param": {
                "num_output": arch.units(full),
                "kernel_size": [kernel],
                "weight_filler": _filler("xavier"),
                "bias_filler": _filler("constant", bias),
                **more,
            }
        }
        if train:
            settings["param"] = _params(name, 0.0 if freeze_conv else 1.0)
        layers.append(layer(name + twin, "Convolution", here, name + twin, **settings))
        here = name + twin
        layers.append(layer(f"relu_{name}{twin}", "ReLU", here, here))

    def norm_pool(number: int) -> None:
        nonlocal here
        norm = f"norm{number}{twin}"
        lrn = {"local_size": 5, "alpha": arch.lrn_alpha, "beta": 0.75}
        layers.append(layer(norm, "LRN", here, norm, lrn_param=lrn))
        here = norm
        pool(number)

    def pool(number: int) -> None:
        nonlocal here
        name = f"pool{number}{twin}"
        layers.append(
            layer(name, "Pooling", here, name,
                  pooling_param={"pool": maximum, "kernel_size": 3, "stride": 2})
        )  # fmt: skip
        here = name

    def dense(name: str, units: int) -> None:
        nonlocal here
        settings: dict[str, Any] = {
            "inner_product_param": {
                "num_output": units,
                "weight_filler": _filler("xavier"),
                "bias_filler": _filler("constant", 0.0),
            }
        }
        if train:
            settings["param"] = _params(name, arch.new_lr_mult)
        layers.append(layer(name + twin, "InnerProduct", here, name + twin, **settings))
        here = name + twin

    def activate(number: int) -> None:
        layers.append(layer(f"relu_fc{number}{twin}", "ReLU", here, here))
        if train and arch.dropout:
            layers.append(
                layer(f"drop{number}{twin}", "Dropout", here, here,
                      dropout_param={"dropout_ratio": arch.dropout})
            )  # fmt: skip

    conv("conv1", 96, 11, 0.0, stride=[4])
    norm_pool(1)
    conv("conv2", 256, 5, 0.1, pad=[2], group=arch.conv2_group)
    norm_pool(2)
    conv("conv3", 384, 3, 0.0, pad=[1])
    if arch.pool3:
        pool(3)
    dense("fc4", arch.units(1024))
    activate(4)
    dense("fc5", arch.units(256))
    activate(5)
    dense("fc6", arch.embedding)
    return layers
