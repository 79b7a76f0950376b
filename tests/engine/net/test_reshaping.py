"""Nets whose pictures change size: they run at each batch's size, as Caffe's do, or say what stands in the way."""

from __future__ import annotations

import math
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from torch.nn import functional

from siamplex.cli import main
from siamplex.engine.fast import spectral
from siamplex.engine.fast.planner import FastPlanner
from siamplex.engine.net import limits
from siamplex.engine.net.fillers import fill
from siamplex.engine.net.layer import Context, Share
from siamplex.engine.net.layer_types import known_types
from siamplex.engine.net.net import Net
from siamplex.engine.training.loss_log import read_losses
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import InputError, PrototxtError
from siamplex.schema import messages
from siamplex.schema.weights import read_solverstate
from tests.engine.conftest import make_layer, make_net, write_lmdb
from tests.engine.layers.test_image_data import listed, write
from tests.engine.training.test_process_group import together

SIZES = [(9, 12), (14, 11), (14, 11), (8, 8), (21, 9)]

# --- each layer can be set up again

PICTURE, OTHER = [(2, 3, 9, 7)], [(2, 3, 6, 11)]
SCORES, FEWER = [(2, 4, 3, 3), (2, 3, 3)], [(2, 4, 1, 5), (2, 1, 5)]
TWO, TWO_OTHER = PICTURE * 2, OTHER * 2
# type and settings, tops, the shapes of two batches
AGAIN = [
    *((f"'{kind}'", 1, PICTURE, OTHER) for kind in (
        "AbsVal BNLL ELU Exp Log LRN MVN Normalize PReLU Power ReLU Sigmoid Softmax Swish TanH Threshold Dropout "
        "BatchNorm Flatten Reduction Bias ArgMax").split()),
    ("'Clip' clip_param { min: -0.5 max: 0.4 }", 1, PICTURE, OTHER),
    ("'LRN' lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }", 1, PICTURE, OTHER),
    ("'Scale' scale_param { bias_term: true }", 1, PICTURE, OTHER),
    ("'Scale' scale_param { axis: 0 bias_term: true }", 1, TWO, TWO_OTHER),
    ("'Bias' bias_param { axis: 0 }", 1, TWO, TWO_OTHER),
    ("'Pooling' pooling_param { kernel_size: 3 stride: 2 }", 1, PICTURE, OTHER),
    ("'Pooling' pooling_param { kernel_size: 3 stride: 2 }", 2, PICTURE, OTHER),
    ("'Pooling' pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE }", 1, PICTURE, OTHER),
    ("'Pooling' pooling_param { global_pooling: true pool: AVE }", 1, PICTURE, OTHER),
    ("'SPP' spp_param { pyramid_height: 3 }", 1, PICTURE, OTHER),
    ("'Convolution' convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 }", 1, PICTURE, OTHER),
    ("'Deconvolution' convolution_param { num_output: 4 kernel_size: 3 stride: 2 }", 1, PICTURE, OTHER),
    ("'Im2col' convolution_param { kernel_size: 3 stride: 2 }", 1, PICTURE, OTHER),
    ("'Slice' slice_param { axis: 2 }", 3, PICTURE, OTHER),
    ("'Concat' concat_param { axis: 3 }", 1, TWO, TWO_OTHER),
    ("'Eltwise'", 1, TWO, TWO_OTHER),
    ("'Crop' crop_param { axis: 2 offset: 1 }", 1, [*PICTURE, (2, 3, 4, 5)], [*OTHER, (2, 3, 5, 10)]),
    ("'Reshape' reshape_param { shape { dim: 0 dim: -1 dim: 1 } }", 1, PICTURE, OTHER),
    ("'ArgMax' argmax_param { axis: 2 top_k: 2 }", 1, PICTURE, OTHER),
    ("'Tile' tile_param { axis: 2 tiles: 2 }", 1, PICTURE, OTHER),
    ("'Split'", 2, PICTURE, OTHER),
    ("'Silence'", 0, PICTURE, OTHER),
    ("'InnerProduct' inner_product_param { num_output: 4 axis: 3 }", 1, PICTURE, [(2, 3, 6, 7)]),
    ("'Embed' embed_param { num_output: 3 input_dim: 9 }", 1, [(2, 5)], [(2, 4)]),
    ("'BatchReindex'", 1, [*PICTURE, (3,)], [*OTHER, (4,)]),
    ("'Filter'", 1, [*PICTURE, (2,)], [*OTHER, (2,)]),
    ("'Accuracy'", 2, SCORES, FEWER),
    ("'SoftmaxWithLoss'", 2, SCORES, FEWER),
    ("'InfogainLoss'", 1, [*SCORES, (1, 1, 4, 4)], [*FEWER, (1, 1, 4, 4)]),
    ("'HingeLoss'", 1, [(2, 4, 3, 3), (2,)], [(2, 4, 1, 5), (2,)]),
    ("'MultinomialLogisticLoss'", 1, [(2, 4, 3, 3), (2,)], [(2, 4, 1, 5), (2,)]),
    ("'EuclideanLoss'", 1, TWO, TWO_OTHER),
    ("'SigmoidCrossEntropyLoss'", 1, TWO, TWO_OTHER),
    *((f"'{kind}' recurrent_param {{ num_output: 3 }}", 1, [(4, 3, 5), (4, 3)], [(4, 2, 5), (4, 2)])
      for kind in ("LSTM", "RNN")),
    ("'ContrastiveLoss'", 1, [(2, 4), (2, 4), (2,)], [(2, 7), (2, 7), (2,)]),
]  # fmt: skip


def test_all_types_with_bottoms_are_in_the_table():
    sources = set("Data DummyData HDF5Data ImageData Input MemoryData Parameter".split())
    assert {text.split("'")[1] for text, *_ in AGAIN} == set(known_types()) - sources


@pytest.mark.parametrize(("text", "tops", "first", "then"), AGAIN)
def test_a_layer_set_up_again_is_as_a_new_one(text, tops, first, then):
    names = "".join(f" bottom: 'b{i}'" for i in range(len(first))) + "".join(f" top: 't{i}'" for i in range(tops))
    again, new = (make_layer(f"type: {text}{names}") for _ in range(2))
    again.setup(first)
    again.blobs = []
    assert again.setup(then) == new.setup(then)
    assert [b.shape for b in again.blobs] == [b.shape for b in new.blobs]
    stream = np.random.default_rng(3)
    bottoms = [torch.tensor(np.abs(stream.normal(size=shape)) * 0.5, dtype=torch.float32) for shape in then]
    params = [torch.tensor(fill(b.filler, b.shape, 0, "it", i)) + 0.1 for i, b in enumerate(new.blobs)]
    found, wanted = (layer.forward(bottoms, [p.clone() for p in params], Context(True)) for layer in (again, new))
    assert len(found) == len(wanted) == tops
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


# --- a net over pictures of several sizes

SOURCE = """layer {{ name: "d" type: "ImageData" top: "data" top: "label" image_data_param {{ source: "{source}"
  batch_size: {count} {settings} }} transform_param {{ scale: 0.01 mean_value: 90 mirror: {mirror} }} }}
"""
LAYERS = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 5 kernel_size: 2 weight_filler { type: "xavier" } } }
layer { name: "gap" type: "Pooling" bottom: "conv2" top: "gap" pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "gap" bottom: "label" top: "loss" }
layer { name: "right" type: "Accuracy" bottom: "gap" bottom: "label" top: "right" include { phase: TEST } }
"""


def several(folder: Path, sizes=SIZES) -> tuple[Path, list[np.ndarray]]:
    """A list of pictures of these sizes, labels 0 to 4 and again; and the pictures (H, W, 3)."""
    pictures = [write(folder / f"{i}.png", *size) for i, size in enumerate(sizes)]
    return listed(folder, *(f"{folder}/{i}.png {i % 5}" for i in range(len(sizes)))), pictures


def text_of(source: Path, count: int = 1, settings: str = "", mirror: str = "false", layers: str = LAYERS) -> str:
    return SOURCE.format(source=source, count=count, settings=settings, mirror=mirror) + layers


def by_torch(net: Net, pictures: list[np.ndarray], labels: list[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Loss and gradients of the net above for a batch, from its formula alone."""
    values = [p.tensor.detach().clone().requires_grad_() for p in net.parameters]
    x = torch.tensor(np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) - 90) * 0.01
    x = functional.relu(functional.conv2d(x, values[0], values[1], padding=1))
    x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
    x = functional.conv2d(x, values[2], values[3]).mean(dim=(2, 3))
    loss = functional.cross_entropy(x, torch.tensor(labels))
    return loss.detach(), list(torch.autograd.grad(loss, values))


def losses_and_gradients(net: Net, passes: int, kernels=None):
    net.learn()
    for iteration in range(passes):
        for p in net.parameters:
            p.tensor.grad = None
        loss, blobs = net.forward(Context(True, iteration=iteration, kernels=kernels))
        loss.backward()
        yield loss.detach(), [p.tensor.grad for p in net.parameters], blobs


@pytest.mark.parametrize(("count", "sizes"), [(1, SIZES), (2, [SIZES[0], SIZES[0], SIZES[1], SIZES[1]])])
def test_each_batch_has_the_loss_and_gradients_of_its_own_size(tmp_path, count, sizes):
    source, pictures = several(tmp_path, sizes)
    net = make_net(text_of(source, count))
    arrays = [p.tensor for p in net.parameters]
    seen = set()
    for turn, (loss, gradients, blobs) in enumerate(losses_and_gradients(net, 2 * len(sizes) // count + 1)):
        numbers = [at % len(sizes) for at in range(turn * count, (turn + 1) * count)]
        wanted, theirs = by_torch(net, [pictures[n] for n in numbers], numbers)
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6)
        for mine, other in zip(gradients, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
        assert {name: tuple(blob.shape) for name, blob in blobs.items()} == net.shapes
        seen.add(net.shapes["conv2"])
    assert len(seen) == len(set(sizes))
    assert all(p.tensor is array for p, array in zip(net.parameters, arrays, strict=True))


def stored(folder: Path, sizes=SIZES) -> tuple[str, list[np.ndarray]]:
    """A Data layer over samples of these sizes, as :func:`text_of` has it, and they (H, W, 3)."""
    stream = np.random.default_rng(2)
    pictures = [stream.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    write_lmdb(folder / "l", [(picture.transpose(2, 0, 1), i % 5) for i, picture in enumerate(pictures)])
    text = f"""layer {{ name: "d" type: "Data" top: "data" top: "label" data_param {{ source: "{folder / "l"}"
      batch_size: 1 backend: LMDB }} transform_param {{ scale: 0.01 mean_value: 90 }} }}\n"""
    return text, pictures


def test_stored_samples_of_several_sizes(tmp_path):
    data, pictures = stored(tmp_path)
    net = make_net(data + LAYERS)
    for turn, (loss, gradients, _) in enumerate(losses_and_gradients(net, 2 * len(SIZES))):
        wanted, theirs = by_torch(net, [pictures[turn % len(SIZES)]], [turn % len(SIZES)])
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6)
        for mine, other in zip(gradients, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
        assert net.shapes["data"][2:] == SIZES[turn % len(SIZES)]
    with pytest.raises(PrototxtError, match=r"layer 'fc' .*; the batch begins with .*/l record 1, 14x11 pixels"):
        fixed = make_net(data + FC)
        for _ in range(2):
            fixed.forward(Context(True))
    mixed = make_net(data.replace("batch_size: 1", "batch_size: 2") + LAYERS)
    said = r"l record 1: expected 9x12 pixels .*, as the first sample of its batch has \(record 0\), found 14x11"
    with pytest.raises(InputError, match=said):
        mixed.forward(Context(True))


def test_stored_samples_of_several_sizes_have_no_shortcut(tmp_path):
    data, _ = stored(tmp_path)
    frozen = LAYERS.replace('bottom: "data" top: "conv1"', 'bottom: "data" top: "conv1" param { lr_mult: 0 } '
                            "param { lr_mult: 0 }")  # fmt: skip
    (tmp_path / "net.prototxt").write_text(data + frozen)
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 12 display: 1 random_seed: 3'
    )
    losses = []
    for shortcut in (True, False):
        prefix = str(tmp_path / f"s{shortcut}")
        options = TrainOptions(snapshot_prefix=prefix, quiet=True, shortcut=shortcut, allow_unfilled=True)
        solver = Solver(tmp_path / "solver.prototxt", options)
        solver.solve()
        losses.append(read_losses(f"{prefix}_losses.csv"))
    assert losses[0] == losses[1] and losses[0][-1][1] != losses[0][0][1]


def test_a_mixed_batch_is_refused_by_its_line(tmp_path):
    source, _ = several(tmp_path, [(9, 12), (9, 12), (14, 11), (8, 8)])
    net = make_net(text_of(source, 2))
    net.forward(Context(True))
    wanted = (
        rf"^{source}:4: expected 14x11 pixels \(height x width\), as the first picture of its batch has "
        rf"\({source}:3\); new_height and new_width resize them, found 8x8$"
    )
    with pytest.raises(InputError, match=wanted):
        net.forward(Context(True))


FC = """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def test_a_layer_whose_weights_would_change_is_refused_by_line_and_picture(tmp_path):
    source, _ = several(tmp_path, [(9, 12), (12, 9), (6, 6)])
    net = make_net(text_of(source, layers=FC))
    net.forward(Context(True))
    net.forward(Context(True))  # as many values in another shape
    wanted = (
        r"^net.prototxt:3: layer 'fc' \(InnerProduct\): blob 0 has shape \(5, 324\), \(5, 108\) would go with bottoms "
        rf"of shapes \(1, 3, 6, 6\); the batch begins with {source}:3, 6x6 pixels .*new_height and new_width"
    )
    for _ in range(2):
        with pytest.raises(PrototxtError, match=wanted):
            net.forward(Context(True))
        net.node("d").layer.source.seek(2)
    net.node("d").layer.source.seek(0)
    assert net.forward(Context(True))[0].isfinite()  # the refusal has left nothing behind
    assert net.node("fc").layer.blobs[0].shape == (5, 324)


def test_a_spatial_pyramid_has_one_length_at_all_sizes(tmp_path):
    source, _ = several(tmp_path)
    layers = 'layer { name: "spp" type: "SPP" bottom: "data" top: "spp" spp_param { pyramid_height: 2 } }\n'
    net = make_net(text_of(source, layers=layers + FC.replace('bottom: "data"', 'bottom: "spp"')))
    for size in SIZES:
        _, blobs = net.forward(Context(True))
        assert blobs["data"].shape[2:] == size and blobs["spp"].shape == (1, 15)


def test_weights_that_no_size_changes_stay(tmp_path):
    """Channels scaled by their own means, with a learned bias: a layer with two bottoms and a blob."""
    source, pictures = several(tmp_path)
    layers = """layer { name: "gap" type: "Pooling" bottom: "data" top: "gap"
      pooling_param { pool: AVE global_pooling: true } }
    layer { name: "flat" type: "Flatten" bottom: "gap" top: "flat" }
    layer { name: "scale" type: "Scale" bottom: "data" bottom: "flat" top: "scale"
      scale_param { axis: 0 bias_term: true bias_filler { value: 2 } } }"""
    net = make_net(text_of(source, layers=layers))
    for picture in pictures:
        _, blobs = net.forward(Context(True))
        x = (picture.transpose(2, 0, 1).astype(np.float64) - 90) * 0.01
        np.testing.assert_allclose(blobs["scale"][0].numpy(), x * x.mean(axis=(1, 2), keepdims=True) + 2, atol=1e-5)
    assert len(net.node("scale").layer.blobs) == 1


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("type: 'Convolution' convolution_param { num_output: 2 kernel_size: 9 }", "kernel spans 9 of 8"),
        ("type: 'Slice' top: 'z' slice_param { axis: 2 slice_point: 8 }", r"slice points \[8\] of 8"),
        ("type: 'Scale' scale_param { num_axes: -1 }", r"blob 0 has shape \(3, 9, 12\), \(3, 8, 8\) would"),
    ],
)
def test_what_a_layer_does_not_take_is_said_with_the_picture(tmp_path, layer, message):
    source, _ = several(tmp_path, [(9, 12), (8, 8)])
    net = make_net(text_of(source, layers=f"layer {{ name: 'it' bottom: 'data' top: 'y' {layer} }}"))
    _, before = net.forward(Context(True))
    with pytest.raises(PrototxtError, match=rf"^net.prototxt:\d: layer 'it' .*{message}.*; the batch begins with .*:2"):
        net.forward(Context(True))
    net.node("d").layer.source.seek(0)
    _, after = net.forward(Context(True))  # the refusal has left nothing behind
    assert torch.equal(before["y"], after["y"])


def test_two_sources_meet_at_every_size(tmp_path):
    source, pictures = several(tmp_path)
    second = text_of(source, layers="").replace('"d"', '"e"').replace('"data"', '"more"').replace('"label"', '"l"')
    layers = """layer { name: "same" type: "Power" bottom: "data" top: "data" }
    layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "more" top: "sum" }"""
    net = make_net(second + text_of(source, layers=layers))
    for _ in range(2):
        for picture in pictures:
            _, blobs = net.forward(Context(True))
            wanted = (picture.transpose(2, 0, 1).astype(np.float32) - 90) * np.float32(0.02)
            np.testing.assert_allclose(blobs["sum"][0].numpy(), wanted, atol=1e-6)
    net.node("e").layer.source.seek(3)
    with pytest.raises(PrototxtError, match=r"'sum' .*begins with .*:1, 9x12 pixels .* and .*:4, 8x8 pixels"):
        net.forward(Context(True))


def test_given_values_have_their_own_size(tmp_path):
    source, _ = several(tmp_path)
    net = make_net(text_of(source))
    net.forward(Context(True))
    net.forward(Context(True))
    for height, width in ((10, 10), SIZES[0]):
        given = {"data": torch.rand(1, 3, height, width), "label": torch.ones(1)}
        inputs = f"shape {{ dim: [1, 3, {height}, {width}] }} shape {{ dim: 1 }}"
        head = f"layer {{ name: 'd' type: 'Input' top: 'data' top: 'label' input_param {{ {inputs} }} }}"
        new = make_net(head + LAYERS)
        assert net.forward(Context(True), given)[0] == new.forward(Context(True), given)[0]
    with pytest.raises(PrototxtError, match=r"kernel spans 2 of 1; the batch begins with given values"):
        net.forward(Context(True), {"data": torch.rand(1, 3, 2, 2), "label": torch.ones(1)})
    given = {"conv2": torch.rand(1, 5, 2, 3)}
    net.node("d").layer.source.seek(0)
    _, before = net.forward(Context(True))
    net.node("d").layer.source.seek(0)
    _, blobs = net.forward(Context(True), given)
    torch.testing.assert_close(blobs["gap"], given["conv2"].mean(dim=(2, 3), keepdim=True))
    net.node("d").layer.source.seek(0)
    _, blobs = net.forward(Context(True))
    assert torch.equal(blobs["gap"], before["gap"])
    assert {name: tuple(blob.shape) for name, blob in blobs.items()} == net.shapes


def test_a_batch_beyond_the_machines_memory_is_refused(tmp_path, monkeypatch):
    source, _ = several(tmp_path, [(9, 12), (18, 24), (9, 12)])
    net = make_net(text_of(source))
    net.forward(Context(True))
    net.forward(Context(True))
    needed = 4 * sum(map(math.prod, [*net.shapes.values(), *(p.tensor.shape for p in net.parameters)]))
    for memory in (needed, needed - 1):
        monkeypatch.setattr(limits, "machine_memory", lambda memory=memory: memory)
        net = make_net(text_of(source))
        net.forward(Context(True))
        if memory == needed:
            net.forward(Context(True))
        else:
            with pytest.raises(PrototxtError, match=r"top '\w+': .* asks for more .*; the batch begins .*:2"):
                net.forward(Context(True))
        for _ in range(2):
            assert net.forward(Context(True))[0].isfinite()
            net.node("d").layer.source.seek(2)


def test_shares_of_a_batch_add_up_to_it(tmp_path):
    source, _ = several(tmp_path, [SIZES[0], SIZES[0], SIZES[1], SIZES[1]])
    whole = make_net(text_of(source, 2, mirror="true"))
    halves = [make_net(text_of(source, 2, mirror="true"), share=Share(rank, 2)) for rank in (0, 1)]
    runs = [losses_and_gradients(net, 4) for net in (whole, *halves)]
    for (loss, gradients, _), *parts in zip(*runs, strict=True):
        torch.testing.assert_close(loss, (parts[0][0] + parts[1][0]) / 2)
        for index, gradient in enumerate(gradients):
            mean = (parts[0][1][index] + parts[1][1][index]) / 2
            torch.testing.assert_close(gradient, mean, rtol=1e-4, atol=1e-6)


def test_only_nets_with_such_a_source_are_looked_at(tmp_path):
    source, _ = several(tmp_path)
    assert make_net(text_of(source)).reshaping
    assert not make_net(text_of(source, settings="new_height: 9 new_width: 9")).reshaping
    assert not make_net(text_of(source).replace("scale: 0.01", "scale: 0.01 crop_size: 8")).reshaping


# --- fast paths

WIDE = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 32 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 32 kernel_size: 9 pad: 4 weight_filler { type: "xavier" } } }
layer { name: "gap" type: "Pooling" bottom: "conv2" top: "gap" pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "gap" bottom: "label" top: "loss" }
"""


def test_fft_convolution_follows_the_sizes_and_keeps_few_of_them(tmp_path):
    sizes = [size for n in range(spectral._PLANES + 3) for size in [(16, 12 + n)] * 8]
    source, _ = several(tmp_path, sizes)
    spectral._transforms.cache_clear()
    kernels = FastPlanner().kernels
    passes = len(sizes) // 8
    fast, plain = (losses_and_gradients(make_net(text_of(source, 8, layers=WIDE)), passes, k) for k in (kernels, None))
    for (loss, gradients, _), (other, others, _) in zip(fast, plain, strict=True):
        torch.testing.assert_close(loss, other, rtol=1e-5, atol=1e-6)
        for a, b in zip(gradients, others, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    used = spectral._transforms.cache_info()
    assert used.misses >= passes and used.currsize == spectral._PLANES


TRAIN = """net: "{net}" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: {iterations} snapshot: 4 display: 1
iter_size: 2 test_interval: 3 test_iter: 5 random_seed: 2 snapshot_prefix: "{prefix}" """


def solver_of(folder: Path, name: str, net: str, iterations: int = 11) -> Path:
    """The solver of a net whose files begin with ``name``."""
    (folder / "net.prototxt").write_text(net)
    path = folder / "solver.prototxt"
    path.write_text(TRAIN.format(net=folder / "net.prototxt", prefix=folder / name, iterations=iterations))
    return path


def train(folder: Path, name: str, layers: str = LAYERS, iterations: int = 11, **options) -> Solver:
    """Train the net over the list in ``folder``, shuffled and mirrored; its files begin with ``name``."""
    path = solver_of(folder, name, text_of(folder / "list.txt", 1, "shuffle: true", "true", layers), iterations)
    solver = Solver(path, TrainOptions(quiet=True, **options))
    solver.solve()
    return solver


DROPOUT = LAYERS.replace(
    'layer { name: "pool1"', 'layer { name: "drop" type: "Dropout" bottom: "conv1" top: "conv1" } layer { name: "pool1"'
)


@pytest.mark.parametrize("stop", [4, 8])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(tmp_path, stop):
    several(tmp_path)
    train(tmp_path, "whole", DROPOUT)
    train(tmp_path, "cut", DROPOUT, snapshot=tmp_path / f"whole_iter_{stop}.solverstate")
    models = [(tmp_path / f"{name}_iter_11.caffemodel").read_bytes() for name in ("whole", "cut")]
    assert models[0] == models[1]
    states = [read_solverstate(tmp_path / f"{name}_iter_11.solverstate").history for name in ("whole", "cut")]
    assert all(np.array_equal(a, b) and a.any() for a, b in zip(*states, strict=True))
    whole, cut = (dict(row[:2] for row in read_losses(tmp_path / f"{name}_losses.csv")) for name in ("whole", "cut"))
    assert cut == {n: loss for n, loss in whole.items() if n >= stop} and len(set(whole.values())) == len(whole)


def test_with_and_without_the_fast_paths_a_run_is_the_same(tmp_path):
    several(tmp_path)
    fast, plain = train(tmp_path, "fast"), train(tmp_path, "plain", shortcut=False)
    assert fast.kernels and not plain.kernels
    for a, b in zip(fast.net.parameters, plain.net.parameters, strict=True):
        torch.testing.assert_close(a.tensor, b.tensor, rtol=1e-5, atol=1e-6)
    tests = [(tmp_path / f"{name}_test.csv").read_text() for name in ("fast", "plain")]
    assert tests[0].count("right") == tests[1].count("right") == 4


@pytest.mark.parametrize("conv", [0, 1])
def test_a_plan_for_other_layers_stays_right(tmp_path, twin_solver, conv):
    """Towers over an LMDB, frozen or merged, beside a branch over pictures of several sizes."""
    source, _ = several(tmp_path)
    more = text_of(source, settings="shuffle: true")
    for name in ("loss", "conv1", "relu", "conv2"):
        more = more.replace(f'"{name}"', f'"{name}_of_pictures"')
    trained = []
    for shortcut in (True, False):
        path = twin_solver(conv=conv, dropout=True, net_more=more, prefix=f"run{shortcut}")
        solver = Solver(path, TrainOptions(quiet=True, shortcut=shortcut))
        solver.solve()
        assert bool(solver.net.stand_ins) == shortcut and bool(solver.plan) == (shortcut and not conv)
        trained.append(solver.net)
    assert trained[0].shapes == trained[1].shapes
    for a, b in zip(*(net.parameters for net in trained), strict=True):
        torch.testing.assert_close(a.tensor, b.tensor, rtol=1e-4, atol=1e-6)


def test_a_test_takes_the_mean_over_all_sizes_or_refuses(tmp_path):
    several(tmp_path)
    solver = train(tmp_path, "run", iterations=1)
    (net,) = solver.test_nets
    found = solver.test(net, len(SIZES))
    net.node("d").layer.source.seek(0)
    right = [net.forward(Context(False, solver.seed))[1]["right"].item() for _ in SIZES]
    assert found["right"] == pytest.approx(np.mean(right))
    layers = LAYERS + 'layer { name: "whole" type: "Power" bottom: "conv2" top: "whole" include { phase: TEST } }'
    with pytest.raises(
        PrototxtError, match=r"net.prototxt:\d+: layer 'whole' .*: output 'whole' has \d+ values in one"
    ):
        train(tmp_path, "other", layers)


def test_two_processes_train_as_one(tmp_path):
    source, _ = several(tmp_path, [size for size in SIZES for _ in range(2)])
    net = text_of(source, 2, mirror="true")
    Solver(solver_of(tmp_path, "one", net), TrainOptions(quiet=True)).solve()
    done = together(solver_of(tmp_path, "two", net))
    assert done.returncode == 0, done.stderr
    one, two = (read_losses(tmp_path / f"{name}_losses.csv") for name in ("one", "two"))
    np.testing.assert_allclose([row[1] for row in two], [row[1] for row in one], rtol=1e-4)


# --- the command


def test_a_refusal_in_training_is_one_line(tmp_path, capsys, monkeypatch):
    several(tmp_path, [(9, 12), (6, 6)])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(text_of(Path("list.txt"), layers=FC))
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 4 snapshot_prefix: "s"')
    assert main(["train", "--solver", str(path)]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "blob 0" in line]
    assert "net.prototxt:3: layer 'fc' (InnerProduct): blob 0 has shape (5, 324), (5, 108) would go with" in said
    assert "the batch begins with list.txt:2, 6x6 pixels" in said


def test_the_old_commands_take_all_sizes(tmp_path, capsys):
    several(tmp_path)
    net = train(tmp_path, "run", iterations=1).test_nets[0]
    source = net.node("d").layer.source
    source.seek(0)
    sizes_in_turn = [source.batch(1, 0)[0][0].shape[1:] for _ in SIZES]
    model, weights = str(tmp_path / "net.prototxt"), str(tmp_path / "run_iter_1.caffemodel")
    assert main(["caffe", "test", f"-model={model}", f"-weights={weights}", "-iterations=5"]) == 0
    assert "right = " in capsys.readouterr().err
    assert main(["caffe", "time", f"-model={model}", "-iterations=5"]) == 0
    out = tmp_path / "out"
    assert main(["caffe", "extract_features", weights, model, "conv2", str(out), "5", "lmdb"]) == 0
    with lmdb.open(str(out), readonly=True) as env, env.begin() as txn:
        data = [messages.Datum.FromString(value) for _, value in txn.cursor()]
    assert [(d.height, d.width) for d in data] == [tuple(-(-(n - 3) // 2) for n in size) for size in sizes_in_turn]
    assert all(len(d.float_data) == d.channels * d.height * d.width for d in data)
