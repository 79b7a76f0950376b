"""What layers of nets in the wild make of their bottoms, each against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siamplex.engine.net.layer import LAYERS, Context
from siamplex.engine.net.layer_types import known_types
from siamplex.errors import PrototxtError
from siamplex.schema import messages
from tests.engine.conftest import make_layer, make_net, run_layer

STREAM = np.random.default_rng(7)
X = STREAM.normal(size=(2, 3, 4, 5)).astype(np.float32)


def test_every_stock_layer_is_known_or_refused_by_its_name():
    stock = set(
        "AbsVal Accuracy ArgMax BNLL BatchNorm BatchReindex Bias Clip Concat ContrastiveLoss Convolution Crop Data "
        "Deconvolution Dropout DummyData ELU Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output "
        "HingeLoss Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM Log MVN MemoryData "
        "MultinomialLogisticLoss PReLU Parameter Pooling Power Python RNN ReLU Reduction Reshape SPP Scale Sigmoid "
        "SigmoidCrossEntropyLoss Silence Slice Softmax SoftmaxWithLoss Split Swish TanH Threshold Tile "
        "WindowData".split()
    )
    refused = {"HDF5Output", "Python", "WindowData"}
    assert stock - refused <= set(known_types())
    for kind in refused:
        with pytest.raises(PrototxtError, match=f"layer 'it': type '{kind}' is not supported: (?!Caffe 1.0 has no)"):
            make_layer(f"type: '{kind}'")
    # every message of settings belongs to a layer
    fields = {f.name for f in messages.LayerParameter.DESCRIPTOR.fields if f.name.endswith("_param")}
    of_no_layer = "transform loss hdf5_output memory_data python window_data".split()
    read = {LAYERS[kind].param_field for kind in known_types()} - {None}
    assert fields - {f"{name}_param" for name in of_no_layer} <= read <= fields


def test_forks_and_python_layers_are_refused_with_what_expresses_them():
    with pytest.raises(PrototxtError, match=r"it.prototxt:1: .*'TripletLoss' .*Slice .*Eltwise.*Power.*ReLU"):
        make_layer("type: 'TripletLoss'")
    with pytest.raises(PrototxtError, match=r"'Python' \(TripletLossLayer\) is not supported: .*Slice the batch"):
        make_layer("type: 'Python' python_param { module: 'm' layer: 'TripletLossLayer' }")


@pytest.mark.parametrize("phase", [True, False])
def test_batch_norm_and_its_running_sums(phase):
    layer = make_layer(
        "type: 'BatchNorm' bottom: 'x' top: 'y' batch_norm_param { eps: 0.01 moving_average_fraction: 0.9 }"
    )
    layer.setup([X.shape])
    sums = [torch.tensor(v) for v in ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [2.0])]
    before = [s.clone().numpy() for s in sums]
    (y,) = layer.forward([torch.tensor(X)], sums, Context(train=phase))
    mean, variance = X.mean(axis=(0, 2, 3)), X.var(axis=(0, 2, 3))
    count = X.size // 3
    if phase:
        expected = [0.9 * before[0] + mean, 0.9 * before[1] + variance * count / (count - 1), [2.8]]
    else:
        expected, mean, variance = before, before[0] / 2, before[1] / 2
    for now, value in zip(sums, expected, strict=True):
        np.testing.assert_allclose(now.numpy(), value, rtol=1e-5)
    wanted = (X - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 0.01)
    np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_batch_norm_without_anything_kept_and_of_one_axis():
    layer = make_layer("type: 'BatchNorm' bottom: 'x' top: 'y' batch_norm_param { use_global_stats: true }")
    layer.setup([(4,)])
    (y,) = layer.forward([torch.ones(4)], [torch.zeros(1) for _ in range(3)], Context(train=True))
    np.testing.assert_allclose(y.numpy(), 1 / np.sqrt(1e-5), rtol=1e-4)


def test_statistics_take_no_rate():
    text = (
        INPUT + "layer { name: 'n' type: 'BatchNorm' bottom: 'x' top: 'n' param { lr_mult: 0 } param { lr_mult: 1 } }"
    )
    with pytest.raises(PrototxtError, match="blob 1 is a statistic: its lr_mult must be 0"):
        make_net(text)
    net = make_net(INPUT + "layer { name: 'n' type: 'BatchNorm' bottom: 'x' top: 'n' }")
    assert [p.lr_mult for p in net.parameters] == [0, 0, 0]


INPUT = "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }"


def test_eltwise_maximum_gives_ties_to_the_second_of_two_and_else_to_the_earlier():
    layer = make_layer("type: 'Eltwise' bottom: 'a' bottom: 'b' bottom: 'c' top: 'y' eltwise_param { operation: MAX }")
    layer.setup([(3,)] * 3)
    values = [[1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [1.0, 2.0, 5.0]]
    bottoms = [torch.tensor(v, requires_grad=True) for v in values]
    (y,) = layer.forward(bottoms, [], Context(train=True))
    y.sum().backward()
    assert y.tolist() == [1, 2, 5]
    assert [b.grad.tolist() for b in bottoms] == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_eltwise_product_without_the_stable_gradient_divides():
    layer = make_layer(
        "type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'y' eltwise_param { operation: PROD stable_prod_grad: false }"
    )
    layer.setup([(2,)] * 2)
    a, b = (torch.tensor(v, requires_grad=True) for v in ([0.0, 2.0], [3.0, 4.0]))
    layer.forward([a, b], [], Context(train=True))[0].sum().backward()
    assert a.grad[0].isnan() and a.grad[1] == 4 and b.grad.tolist() == [0, 2]


def test_a_power_without_shift_has_no_gradient_at_0():
    layer = make_layer("type: 'Power' bottom: 'x' top: 'y' power_param { power: 3 }")
    x = torch.tensor([0.0, 2.0], requires_grad=True)
    layer.setup([(2,)])
    layer.forward([x], [], Context(train=True))[0].sum().backward()
    assert x.grad[0].isnan() and x.grad[1] == 12


@pytest.mark.parametrize(
    ("settings", "value"),
    [("power: 0", 1.0), ("scale: 0 shift: 2 power: 3", 8.0), ("scale: 0", 0.0), ("power: 2 scale: 0 shift: -3", 9.0)],
)
def test_constant_powers(settings, value):
    (y,) = run_layer(f"type: 'Power' bottom: 'x' top: 'y' power_param {{ {settings} }}", [X])
    assert (y == value).all()


def test_threshold_counts_what_lies_above():
    (y,) = run_layer(
        "type: 'Threshold' bottom: 'x' top: 'y' threshold_param { threshold: 0.5 }", [np.float32([0.5, 0.6])]
    )
    assert y.tolist() == [0, 1]


@given(top_k=st.integers(1, 5), axis=st.sampled_from([None, 0, 1, -1]), values=st.booleans(), seed=st.integers(0, 50))
@settings(deadline=None)
def test_argmax(top_k, axis, values, seed):
    x = np.random.default_rng(seed).integers(0, 4, (5, 5, 6)).astype(np.float32)  # ties abound
    extra = ("" if axis is None else f"axis: {axis}") + (" out_max_val: true" if values else "")
    text = f"type: 'ArgMax' bottom: 'x' top: 'y' argmax_param {{ top_k: {top_k} {extra} }}"
    (y,) = run_layer(text, [x])

    def best(row):
        return sorted(((v, i) for i, v in enumerate(row)), reverse=True)[:top_k]

    if axis is None:
        ordered = np.array([best(row.ravel()) for row in x])  # (N, top_k, value and place)
        wanted = np.stack([ordered[..., 1], ordered[..., 0]], axis=1) if values else ordered[:, None, :, 1]
    else:
        wanted = np.apply_along_axis(lambda row: np.array(best(row))[:, 0 if values else 1], axis, x)
    np.testing.assert_array_equal(y.numpy(), wanted)


def test_argmax_keeps_the_number_of_axes():
    layer = make_layer("type: 'ArgMax' bottom: 'x' top: 'y' argmax_param { top_k: 2 }")
    assert layer.setup([(3, 4, 5, 6)]) == [(3, 1, 2, 1)] and layer.setup([(3, 4)]) == [(3, 1, 2)]


def test_tile_and_crop():
    (y,) = run_layer("type: 'Tile' bottom: 'x' top: 'y' tile_param { axis: 1 tiles: 2 }", [X])
    np.testing.assert_array_equal(y.numpy(), np.concatenate([X, X], axis=1))
    like = np.zeros((9, 9, 2, 3), np.float32)
    crop = "type: 'Crop' bottom: 'x' bottom: 'l' top: 'y' crop_param { SETTINGS }"
    for given_, rows, columns in (("", 0, 0), ("offset: 1", 1, 1), ("axis: -2 offset: 2 offset: 1", 2, 1)):
        (y,) = run_layer(crop.replace("SETTINGS", given_), [X, like])
        np.testing.assert_array_equal(y.numpy(), X[:, :, rows : rows + 2, columns : columns + 3])
    with pytest.raises(PrototxtError, match="axis 2: 2 values from 3 on, of 4"):
        make_layer(crop.replace("SETTINGS", "offset: 3")).setup([X.shape, like.shape])
    with pytest.raises(PrototxtError, match="2 offsets for 3 axes"):
        make_layer(crop.replace("SETTINGS", "axis: 1 offset: 3 offset: 1")).setup([X.shape, like.shape])


def test_im2col_is_what_a_convolution_multiplies():
    kernels = STREAM.normal(size=(2, 3, 3, 2)).astype(np.float32)
    window = "kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1 pad_w: 0"
    (columns,) = run_layer(f"type: 'Im2col' bottom: 'x' top: 'y' convolution_param {{ {window} }}", [X])
    text = f"type: 'Convolution' bottom: 'x' top: 'y' convolution_param {{ num_output: 2 bias_term: false {window} }}"
    (y,) = run_layer(text, [X], [kernels])
    product = np.einsum("oc,nchw->nohw", kernels.reshape(2, -1), columns.numpy())
    np.testing.assert_allclose(y.numpy(), product, rtol=1e-4, atol=1e-5)


@given(
    size=st.integers(1, 5), kernel=st.integers(1, 4), stride=st.integers(1, 3), pad=st.integers(0, 1),
    group=st.sampled_from([1, 2]),
)  # fmt: skip
@settings(deadline=None)
def test_deconvolution_is_a_convolutions_transpose(size, kernel, stride, pad, group):
    """<deconvolve x, y> = <x, convolve y> with the same weights."""
    out = stride * (size - 1) + kernel - 2 * pad

    def text(kind: str, outputs: int) -> str:
        window = f"kernel_size: {kernel} stride: {stride} pad: {pad} group: {group} bias_term: false"
        return f"type: '{kind}' bottom: 'x' top: 'y' convolution_param {{ num_output: {outputs} {window} }}"

    layer = make_layer(text("Deconvolution", 6))
    if out <= 0:
        with pytest.raises(PrototxtError, match="leaves nothing"):
            layer.setup([(2, 4, size, size)])
        return
    assert layer.setup([(2, 4, size, size)]) == [(2, 6, out, out)]
    (blob,) = layer.blobs
    assert blob.shape == (4, 6 // group, kernel, kernel)
    weight, x = STREAM.normal(size=blob.shape), STREAM.normal(size=(2, 4, size, size))
    y = STREAM.normal(size=(2, 6, out, out))
    (up,) = layer.forward([torch.tensor(x)], [torch.tensor(weight)], Context(train=True))
    down = make_layer(text("Convolution", 4))
    down.setup([y.shape])
    (back,) = down.forward([torch.tensor(y)], [torch.tensor(weight)], Context(train=True))
    back = back[..., :size, :size]
    assert float((up.numpy() * y).sum()) == pytest.approx(float((x * back.numpy()).sum()), rel=1e-8, abs=1e-8)


def test_several_bottoms_of_a_convolution():
    window = "convolution_param { num_output: 2 kernel_size: 3 }"
    text = f"type: 'Convolution' bottom: 'a' bottom: 'b' top: 'y' top: 'z' {window}"
    y, z = run_layer(text, [X, X[::-1].copy()])
    np.testing.assert_allclose(y.numpy()[::-1], z.numpy(), rtol=1e-6)
    with pytest.raises(PrototxtError, match="2 bottoms with 1 tops"):
        make_layer(text.replace("top: 'z'", ""))
    with pytest.raises(PrototxtError, match=r"bottoms of shapes \(2, 3, 4, 5\) and \(1, 3, 4, 5\)"):
        make_layer(text).setup([X.shape, X[:1].shape])


def test_convolutions_over_other_axes():
    text = "type: 'Convolution' bottom: 'x' top: 'y' convolution_param { num_output: 2 SETTINGS }"
    layer = make_layer(text.replace("SETTINGS", "kernel_size: 3 kernel_size: 1 kernel_size: 2 pad: 1 stride: 2"))
    assert layer.setup([(2, 3, 4, 5, 6)]) == [(2, 2, 2, 4, 4)]
    layer = make_layer(text.replace("SETTINGS", "kernel_size: 2 axis: 2"))
    assert layer.setup([X.shape]) == [(2, 3, 2, 4)]
    with pytest.raises(PrototxtError, match="kernel_h and kernel_w are for two spatial axes"):
        make_layer(text.replace("SETTINGS", "kernel_h: 2 kernel_w: 2")).setup([(2, 3, 4)])
    with pytest.raises(PrototxtError, match="2 values of kernel_size for 3 spatial axes"):
        make_layer(text.replace("SETTINGS", "kernel_size: 2 kernel_size: 1")).setup([(2, 3, 4, 5, 6)])


def test_pooling_windows_larger_than_what_there_is():
    pooling = "type: 'Pooling' bottom: 'x' top: 'y' pooling_param {{ {} }}"
    (y,) = run_layer(pooling.format("kernel_size: 6 stride: 4"), [X])
    np.testing.assert_array_equal(y.numpy()[..., 0, 0], X.max(axis=(2, 3)))
    (y,) = run_layer(pooling.format("kernel_size: 6 stride: 4 pool: AVE"), [X])
    np.testing.assert_allclose(y.numpy()[..., 0, 0], X.mean(axis=(2, 3)), rtol=1e-4, atol=1e-6)
    with pytest.raises(PrototxtError, match="window 9 over 4 leaves no output"):
        make_layer(pooling.format("kernel_size: 9 stride: 2")).setup([X.shape])


def test_padding_along_one_axis_drops_the_last_window_of_the_other():
    layer = make_layer(
        "type: 'Pooling' bottom: 'x' top: 'y' "
        "pooling_param { kernel_h: 3 kernel_w: 1 stride_h: 1 stride_w: 3 pad_h: 1 pad_w: 0 }"
    )
    assert layer.setup([(1, 1, 5, 5)]) == [(1, 1, 5, 2)]


@pytest.mark.parametrize(
    "settings", ["global_pooling: true stride: 2", "global_pooling: true pad: 1", "global_pooling: true kernel_h: 2"]
)
def test_global_pooling_goes_alone(settings):
    with pytest.raises(PrototxtError, match=r"global_pooling (goes with|takes no)"):
        make_layer(f"type: 'Pooling' bottom: 'x' top: 'y' pooling_param {{ {settings} }}")


def test_places_of_maxima():
    text = "type: 'Pooling' bottom: 'x' top: 'y' top: 'm' pooling_param { kernel_size: 3 stride: 2 pad: 1 }"
    y, places = run_layer(text, [X])
    flat = X.reshape(2, 3, 20)
    np.testing.assert_array_equal(np.take_along_axis(flat, places.long().numpy().reshape(2, 3, -1), 2),
                                  y.numpy().reshape(2, 3, -1))  # fmt: skip
    with pytest.raises(PrototxtError, match="pool AVE has one top"):
        make_layer(text.replace("kernel_size", "pool: AVE kernel_size"))


def test_spatial_pyramids():
    layer = make_layer("type: 'SPP' bottom: 'x' top: 'y' spp_param { pyramid_height: 2 }")
    assert layer.setup([X.shape]) == [(2, 3 * 5)]
    (y,) = layer.forward([torch.tensor(X)], [], Context(train=True))
    np.testing.assert_array_equal(y.numpy()[:, :3], X.max(axis=(2, 3)))
    # bins of 2 by 3, the first column padded by one
    wanted = [[X[:, :, r, c].max(axis=(2, 3)) for c in (slice(0, 2), slice(2, 5))] for r in (slice(0, 2), slice(2, 4))]
    wanted = np.array(wanted).transpose(2, 3, 0, 1).reshape(2, 12)
    np.testing.assert_array_equal(y.numpy()[:, 3:], wanted)
    one = make_layer("type: 'SPP' bottom: 'x' top: 'y' spp_param { pyramid_height: 1 }")
    assert one.setup([X.shape]) == [(2, 3, 1, 1)]


def test_filter_and_batch_reindex():
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    select = np.float32([0, 1, 0, 1])
    layer = make_layer("type: 'Filter' bottom: 'a' bottom: 'b' bottom: 's' top: 'y' top: 'z'")
    assert layer.setup([(4, 2), (4, 1), (4, 1)]) == [(4, 2), (4, 1)]
    y, z = layer.forward([torch.tensor(a) for a in (rows, rows[:, :1], select[:, None])], [], Context(train=True))
    assert y.tolist() == [[2, 3], [6, 7]] and z.tolist() == [[2], [6]]
    (y,) = run_layer("type: 'BatchReindex' bottom: 'x' bottom: 'i' top: 'y'", [rows, np.float32([3, 3, 0])])
    assert y.tolist() == [[6, 7], [6, 7], [0, 1]]
    with pytest.raises(PrototxtError, match=r"an index outside 0\.\.3"):
        run_layer("type: 'BatchReindex' bottom: 'x' bottom: 'i' top: 'y'", [rows, np.float32([4])])


def test_dummy_data():
    text = (
        "type: 'DummyData' top: 'a' top: 'b' dummy_data_param { num: 2 num: 3 channels: 1 height: 4 width: 5 "
        "data_filler { value: 7 } data_filler { type: 'gaussian' } }"
    )
    layer = make_layer(text)
    assert layer.setup([]) == [(2, 1, 4, 5), (3, 1, 4, 5)]
    first, again, later = (layer.forward([], [], Context(train=True, seed=3, iteration=i)) for i in (0, 0, 1))
    assert (first[0] == 7).all() and torch.equal(first[1], again[1]) and not torch.equal(first[1], later[1])
    assert (
        make_layer("type: 'DummyData' top: 'a' top: 'b' dummy_data_param { shape { dim: 2 } }").setup([]) == [(2,)] * 2
    )
    with pytest.raises(PrototxtError, match="2 fillers for 3 tops"):
        make_layer(text.replace("top: 'b'", "top: 'b' top: 'c'")).setup([])


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


SCORES = STREAM.normal(size=(3, 4)).astype(np.float32)
LABELS = np.float32([2, 0, 3])


def test_losses_of_labels():
    rows = np.arange(3)
    chosen = LABELS.astype(int)
    signs = np.ones_like(SCORES)
    signs[rows, chosen] = -1
    margins = np.maximum(0, 1 + signs * SCORES)
    bottoms = "bottom: 'x' bottom: 'l' top: 'y'"
    (y,) = run_layer(f"type: 'HingeLoss' {bottoms}", [SCORES, LABELS])
    assert float(y) == pytest.approx(margins.sum() / 3, rel=1e-5)
    (y,) = run_layer(f"type: 'HingeLoss' {bottoms} hinge_loss_param {{ norm: L2 }}", [SCORES, LABELS])
    assert float(y) == pytest.approx((margins**2).sum() / 3, rel=1e-5)
    p = softmax(SCORES)
    (y,) = run_layer(f"type: 'MultinomialLogisticLoss' {bottoms}", [p, LABELS])
    assert float(y) == pytest.approx(-np.log(p[rows, chosen]).mean(), rel=1e-5)
    h = STREAM.random((4, 4)).astype(np.float32)
    infogain = "type: 'InfogainLoss' bottom: 'x' bottom: 'l' bottom: 'h' top: 'y' {}"
    (y,) = run_layer(infogain.format(""), [SCORES, LABELS, h])
    assert float(y) == pytest.approx(-(h[chosen] * np.log(p)).sum() / 3, rel=1e-5)
    (y,) = run_layer(infogain.format("loss_param { ignore_label: 3 }"), [SCORES, LABELS, h])
    assert float(y) == pytest.approx(-(h[chosen[:2]] * np.log(p[:2])).sum() / 2, rel=1e-5)


def test_softmax_loss_gives_its_probabilities_too():
    text = "type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'l' top: 'y' top: 'p' loss_weight: 1 loss_weight: 0"
    _, p = run_layer(text, [SCORES, LABELS])
    np.testing.assert_allclose(p.numpy(), softmax(SCORES), rtol=1e-5)


def test_accuracy_by_class():
    scores = np.float32([[2, 1, 0], [0, 1, 0], [5, 4, 3]])
    whole, by_class = run_layer(
        "type: 'Accuracy' bottom: 'x' bottom: 'l' top: 'a' top: 'c'", [scores, np.float32([0, 1, 1])]
    )
    assert float(whole) == pytest.approx(2 / 3) and by_class.tolist() == [1, 0.5, 0]


def test_normalize():
    (y,) = run_layer("type: 'Normalize' bottom: 'x' top: 'y'", [X], [np.float32(20)])
    np.testing.assert_allclose(y.numpy(), 20 * X / np.sqrt((X**2).sum(axis=(1, 2, 3), keepdims=True)), rtol=1e-5)
    text = "type: 'Normalize' bottom: 'x' top: 'y' norm_param { across_spatial: false channel_shared: false }"
    scale = np.float32([1, 2, 3])
    (y,) = run_layer(text, [X], [scale])
    wanted = scale[:, None, None] * X / np.sqrt((X**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-5)


def test_scale_and_bias_along_axes():
    for kind, field, result in (("Scale", "scale", X * 3), ("Bias", "bias", X + 3)):
        (y,) = run_layer(f"type: '{kind}' bottom: 'x' bottom: 's' top: 'y'", [X, np.float32(3)])
        np.testing.assert_allclose(y.numpy(), result, rtol=1e-6)
        layer = make_layer(f"type: '{kind}' bottom: 'x' top: 'y' {field}_param {{ axis: 2 num_axes: -1 }}")
        layer.setup([X.shape])
        assert layer.blobs[0].shape == (4, 5)
        with pytest.raises(PrototxtError, match=r"an array of shape \(4,\) along axis 1"):
            make_layer(f"type: '{kind}' bottom: 'x' bottom: 's' top: 'y'").setup([X.shape, (4,)])


def test_mvn_normalises():
    (y,) = run_layer("type: 'MVN' bottom: 'x' top: 'y'", [X])
    np.testing.assert_allclose(y.numpy().mean(axis=(2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.numpy().std(axis=(2, 3)), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", ["AbsVal", "Flatten", "Eltwise", "Split"])
def test_layers_that_work_not_in_place(kind):
    more = " bottom: 'z'" if kind == "Eltwise" else ""
    with pytest.raises(PrototxtError, match="works not in place"):
        make_layer(f"type: '{kind}' bottom: 'x'{more} top: 'x'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'Eltwise' bottom: 'a' bottom: 'b' top: 'y' eltwise_param { coeff: 1 }", "1 coefficients for 2 bottoms"),
        ("'Eltwise' bottom: 'a' bottom: 'b' top: 'y' eltwise_param { operation: PROD coeff: 1 coeff: 1 }", "no coeff"),
        ("'Exp' bottom: 'a' top: 'y' exp_param { base: 0 }", "base 0 is not positive"),
        ("'Clip' bottom: 'a' top: 'y' clip_param { min: 0 }", "max is missing"),
        ("'Tile' bottom: 'a' top: 'y'", "tiles is missing"),
        ("'SPP' bottom: 'a' top: 'y'", "pyramid_height must be positive"),
        ("'InfogainLoss' bottom: 'a' bottom: 'l' top: 'y'", "source is missing"),
        ("'Dropout' bottom: 'a' top: 'y' dropout_param { dropout_ratio: -0.1 }", "not between"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(PrototxtError, match=message):
        make_layer(f"type: {text}")


@pytest.mark.parametrize(
    "text",
    [
        "'Threshold' bottom: 'x' top: 'y'",
        "'ArgMax' bottom: 'x' top: 'y'",
        "'Accuracy' bottom: 'o' bottom: 'x' top: 'y' accuracy_param { ignore_label: 0 }",
        "'SigmoidCrossEntropyLoss' bottom: 'o' bottom: 'x' top: 'y'",
    ],
)
def test_a_backward_pass_through_what_has_no_gradient_is_refused(text):
    layer = make_layer(f"type: {text}")
    x = torch.ones(2, 3, requires_grad=True)
    bottoms = {"x": x, "o": torch.ones(2, 3)}
    if "Accuracy" in text:
        bottoms = {"o": x, "x": torch.zeros(2)}
    given_ = [bottoms[name] for name in layer.spec.message.bottom]
    layer.setup([tuple(b.shape) for b in given_])
    (y,) = layer.forward(given_, [], Context(train=True))
    with pytest.raises(PrototxtError, match=r"no gradient|have no gradient"):
        y.sum().backward()
