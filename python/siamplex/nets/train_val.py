"""The twin net for training (pairs in, contrastive loss out), and the single tower for deployment."""

from __future__ import annotations

from typing import Any

from siamplex.nets.architecture import TWIN, Architecture, layer, tower
from siamplex.pairs.store import TABLE_LAYER
from siamplex.schema import messages
from siamplex.schema.messages import enum_value

STAGES = (1, 2)


def train_val(
    arch: Architecture,
    stage: int,
    layout: str,
    sources: dict[str, str],
    *,
    batch_size: int,
    test_batch_size: int,
    images: int,
    mean: tuple[float, float, float],
    scale: float,
) -> Any:
    """A NetParameter for ``stage`` 1 (conv1-3 frozen) or 2 (all learn), ``layout`` of the pairs.

    ``sources`` holds the LMDB path of ``train`` and, when there is one, of ``val``; ``images`` is
    the number of rows of the indexed layout's table.  ``mean`` and ``scale`` are applied to stacked pixels;
    the indexed layout's table holds them applied.
    """
    net = messages.NetParameter(name=f"siamplex_stage{stage}_{layout}")
    sizes = {"train": ("TRAIN", batch_size), "val": ("TEST", test_batch_size)}
    for split, source in sources.items():
        phase, batch = sizes[split]
        net.layer.append(_pair_data(source, phase, batch, layout, mean, scale))
    if layout == "stacked":
        net.layer.append(
            layer("slice_pair", "Slice", "pair_data", ["data", f"data{TWIN}"],
                  slice_param={"axis": 1, "slice_point": [3]})
        )  # fmt: skip
    else:
        net.layer.append(
            layer("slice_pair", "Slice", "pair_data", ["index", f"index{TWIN}"],
                  slice_param={"axis": 1, "slice_point": [1]})
        )  # fmt: skip
        for twin in ("", TWIN):
            net.layer.extend(_lookup(arch, twin, images))
    for twin in ("", TWIN):
        net.layer.extend(tower(arch, f"data{twin}", twin=twin, freeze_conv=stage == 1))
    net.layer.append(
        layer("loss", "ContrastiveLoss", ["fc6", f"fc6{TWIN}", "sim"], "loss",
              contrastive_loss_param={"margin": arch.margin})
    )  # fmt: skip
    return net


def _pair_data(source: str, phase: str, batch: int, layout: str, mean: tuple[float, float, float], scale: float) -> Any:
    settings: dict[str, Any] = {
        "include": [{"phase": enum_value("Phase", phase)}],
        "data_param": {
            "source": source,
            "batch_size": batch,
            "backend": enum_value("Backend", "LMDB"),
        },
    }
    if layout == "stacked":
        settings["transform_param"] = {"mean_value": [*mean, *mean], "scale": scale}
    return layer("pair_data", "Data", [], ["pair_data", "sim"], **settings)


def _lookup(arch: Architecture, twin: str, images: int) -> list[Any]:
    """From indices to pixels: a frozen table of all images, then their shape."""
    flat = f"flat{twin}"
    table = layer(
        f"{TABLE_LAYER}{twin}", "Embed", f"index{twin}", flat,
        param=[{"name": TABLE_LAYER, "lr_mult": 0, "decay_mult": 0}],
        embed_param={"input_dim": images, "num_output": 3 * arch.size**2, "bias_term": False},
    )  # fmt: skip
    shape = {"shape": {"dim": [0, 3, arch.size, arch.size]}}
    return [table, layer(f"data{twin}", "Reshape", flat, f"data{twin}", reshape_param=shape)]


def deploy(arch: Architecture) -> Any:
    """One tower: ``data`` (N, 3, size, size) BGR less the mean, scaled -> ``fc6`` (N, 2), the embedding."""
    net = messages.NetParameter(name="siamplex_deploy")
    shape = {"shape": [{"dim": [1, 3, arch.size, arch.size]}]}
    net.layer.append(layer("data", "Input", [], "data", input_param=shape))
    net.layer.extend(tower(arch, "data", train=False))
    return net
