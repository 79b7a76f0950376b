"""Building one layer, one net or one solver from prototxt text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

from siamplex.engine.fast import dead_units, products
from siamplex.engine.fast.gram import GramWeight
from siamplex.engine.fast.gram_arrays import Heights, Matrix
from siamplex.engine.net.fillers import fill
from siamplex.engine.net.layer import Context, Layer, LayerSpec
from siamplex.engine.net.layer_types import create
from siamplex.engine.net.net import Net
from siamplex.schema import messages, prototxt
from siamplex.schema.datum import encode
from siamplex.schema.weights import write_caffemodel


def make_layer(text: str) -> Layer:
    """The one layer of a prototxt."""
    source = prototxt.parse(f"layer {{ name: 'it' {text} }}", "NetParameter", "it.prototxt")
    return create(LayerSpec(source.message.layer[0], source, ("layer", 0)))


def run_layer(
    text: str,
    bottoms: Sequence[np.ndarray | torch.Tensor],
    params: Sequence[np.ndarray] | None = None,
    context: Context | None = None,
) -> list[torch.Tensor]:
    """Set a layer up for its bottoms and run it forward (parameters filled unless given)."""
    layer = make_layer(text)
    tensors = [torch.as_tensor(b) for b in bottoms]
    shapes = layer.setup([tuple(t.shape) for t in tensors])
    if params is None:
        params = [fill(b.filler, b.shape, 0, "it", i) for i, b in enumerate(layer.blobs)]
    for blob, array in zip(layer.blobs, params, strict=True):
        assert blob.shape == array.shape
    tops = layer.forward(tensors, [torch.as_tensor(p) for p in params], context or Context(train=True))
    assert [tuple(t.shape) for t in tops] == [tuple(s) for s in shapes]
    return tops


def make_net(text: str, phase: str = "TRAIN", **options: object) -> Net:
    """A net from text."""
    return Net(prototxt.parse(text, "NetParameter", "net.prototxt"), phase, **options)  # type: ignore[arg-type]


def write_lmdb(folder: Path, samples: Sequence[tuple[np.ndarray, int]]) -> Path:
    """An LMDB of Datums."""
    with lmdb.open(str(folder), map_size=1 << 26) as env, env.begin(write=True) as txn:
        for i, (values, label) in enumerate(samples):
            txn.put(b"%08d" % i, encode(values, label))
    return folder


@pytest.fixture
def pair_lmdb(tmp_path: Path) -> Path:
    """Eight pairs of two 1x6x6 images in bytes, labels alternating."""
    stream = np.random.default_rng(5)
    samples = [(stream.integers(0, 256, (2, 6, 6), dtype=np.uint8), i % 2) for i in range(8)]
    return write_lmdb(tmp_path / "pairs_lmdb", samples)


TWIN_NET = """
name: "twins"
layer {{ name: "pair" type: "Data" top: "pair" top: "sim"
  data_param {{ source: "{source}" batch_size: 4 backend: LMDB }} transform_param {{ scale: 0.01 }} }}
layer {{ name: "slice" type: "Slice" bottom: "pair" top: "a" top: "b" }}
layer {{ name: "conv" type: "Convolution" bottom: "a" top: "conv"
  param {{ name: "cw" lr_mult: {conv} }} param {{ name: "cb" lr_mult: {conv} }}
  convolution_param {{ num_output: 3 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  param {{ name: "fw" }} param {{ name: "fb" lr_mult: 2 decay_mult: 0 }}
  inner_product_param {{ num_output: 5 weight_filler {{ type: "xavier" }} }} }}
{dropout}
layer {{ name: "out" type: "InnerProduct" bottom: "fc" top: "out" param {{ name: "ow" }} param {{ name: "ob" }}
  inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "conv_p" type: "Convolution" bottom: "b" top: "conv_p"
  param {{ name: "cw" lr_mult: {conv} }} param {{ name: "cb" lr_mult: {conv} }}
  convolution_param {{ num_output: 3 kernel_size: 3 }} }}
layer {{ name: "relu_p" type: "ReLU" bottom: "conv_p" top: "conv_p" }}
layer {{ name: "fc_p" type: "InnerProduct" bottom: "conv_p" top: "fc_p"
  param {{ name: "fw" }} param {{ name: "fb" lr_mult: 2 decay_mult: 0 }}
  inner_product_param {{ num_output: 5 }} }}
{dropout_p}
layer {{ name: "out_p" type: "InnerProduct" bottom: "fc_p" top: "out_p" param {{ name: "ow" }} param {{ name: "ob" }}
  inner_product_param {{ num_output: 2 }} }}
layer {{ name: "loss" type: "ContrastiveLoss" bottom: "out" bottom: "out_p" bottom: "sim" top: "loss" }}
"""

SOLVER = """
net: "{net}" base_lr: 0.05 lr_policy: "step" gamma: 0.5 stepsize: 4 momentum: 0.9 weight_decay: 0.01
max_iter: 12 display: 1 snapshot: 6 snapshot_prefix: "{prefix}" random_seed: 3 {more}
"""


def frozen_convolution(folder: Path) -> Path:
    """A caffemodel with the twins' ``conv``, xavier-filled."""
    xavier = messages.FillerParameter(type="xavier")
    arrays = [fill(xavier, (3, 1, 3, 3), 3, "conv", 0), np.zeros(3, np.float32)]
    write_caffemodel(
        folder / "conv.caffemodel", "conv", [(messages.LayerParameter(name="conv", type="Convolution"), arrays)]
    )
    return folder / "conv.caffemodel"


@pytest.fixture
def twin_solver(tmp_path: Path, pair_lmdb: Path) -> Callable[..., Path]:
    """Writes a twin net and its solver; options: conv (lr_mult), dropout and rectified (behind fc), more, prefix."""

    def write(
        conv: float = 1, dropout: bool = False, more: str = "", prefix: str = "snap", net_more: str = "",
        rectified: bool = False,
    ) -> Path:  # fmt: skip
        text = ""
        if rectified:
            text += 'layer {{ name: "relu{0}" type: "ReLU" bottom: "fc{0}" top: "fc{0}" }}'
        if dropout:
            text += 'layer {{ name: "drop{0}" type: "Dropout" bottom: "fc{0}" top: "fc{0}" }}'
        drops = {"dropout": text.format(""), "dropout_p": text.format("_p")}
        net = tmp_path / "net.prototxt"
        net.write_text(TWIN_NET.format(source=pair_lmdb, conv=conv, **drops) + net_more)
        solver = tmp_path / "solver.prototxt"
        if not conv:  # what never learns comes from a file: what the filler would have drawn from the solver's seed
            more += f' weights: "{frozen_convolution(tmp_path)}"'
        solver.write_text(SOLVER.format(net=net, prefix=tmp_path / prefix, more=more))
        return solver

    return write


@pytest.fixture
def left_alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets dual forms look for units to leave alone all the time; how many there were each time."""
    found: list[int] = []
    pick = GramWeight._pick

    def picking(self: GramWeight, units: torch.Tensor, heights: Heights, p: Matrix) -> None:
        found.append(self.width - len(units))
        pick(self, units, heights, p)

    monkeypatch.setattr(dead_units, "FIRST_LOOK", 1)
    monkeypatch.setattr(dead_units, "LAST_LOOK", 2)
    monkeypatch.setattr(dead_units, "WORTH_IT", 0.99)
    monkeypatch.setattr(GramWeight, "_pick", picking)
    monkeypatch.setattr(products, "_LOOK", 0)
    return found
