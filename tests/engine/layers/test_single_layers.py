"""What Caffe makes of nets of one layer, in cases where tools/compare_layers.py found siamplex to differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.layer import Context
from siamplex.engine.net.net import Net
from siamplex.errors import PrototxtError
from tests.engine.conftest import make_net

STREAM = np.random.default_rng(3)


def fed(layer: str, *shapes: tuple[int, ...], phase: str = "TRAIN", net: str = "") -> Net:
    """A net of one layer with inputs a, b, ... of these shapes."""
    inputs = ""
    for name, shape in zip("abcd", shapes, strict=False):
        dims = " ".join(f"dim: {size}" for size in shape)
        inputs += f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ {dims} }} }} }} "
    return make_net(f"{net} {inputs} layer {{ name: 'it' {layer} }}", phase)


def values(*shape: int) -> torch.Tensor:
    """Normally distributed values with room for a gradient."""
    return torch.tensor(STREAM.normal(size=shape).astype(np.float32), requires_grad=True)


def run(net: Net, *given: torch.Tensor, train: bool = True) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and blobs of a forward pass over the inputs a, b, ..."""
    return net.forward(Context(train), dict(zip("abcd", given, strict=False)))


def test_a_layer_that_works_in_place_on_an_input_runs_where_its_value_is_given():
    x = torch.tensor([[-1.0, 2.0]])
    _, blobs = run(fed("type: 'ReLU' bottom: 'a' top: 'a'", (1, 2)), x)
    assert blobs["a"].tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize(("forced", "share"), [("", 0.0), ("force_backward: true", 1.0)])
def test_force_backward_overrides_propagate_down(forced, share):
    a, b = values(2, 3), values(2, 3)
    layer = "type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'y' propagate_down: false propagate_down: true loss_weight: 1"
    loss, _ = run(fed(layer, (2, 3), (2, 3), net=forced), a, b)
    loss.backward()
    assert b.grad is not None and b.grad.eq(1).all()
    assert share == 0 if a.grad is None else a.grad.eq(share).all()


def test_force_backward_does_not_reach_labels():
    layer = "type: 'SoftmaxWithLoss' bottom: 'a' bottom: 'b' propagate_down: true propagate_down: false"
    net = fed(layer, (2, 3), (2,), net="force_backward: true")
    assert net.node("it").propagate == [True, False]


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_force_backward_does_not_reach_where_sequences_go_on(kind):
    layer = f"type: '{kind}' bottom: 'a' bottom: 'b' top: 'y' recurrent_param {{ num_output: 2 }} "
    net = fed(layer + "propagate_down: false propagate_down: false", (2, 1, 3), (2, 1), net="force_backward: true")
    assert net.node("it").propagate == [True, False]


@pytest.mark.parametrize(
    "layer",
    [
        "type: 'InnerProduct' bottom: 'a' top: 'a' inner_product_param { num_output: 4 }",
        "type: 'Convolution' bottom: 'a' top: 'a' convolution_param { num_output: 3 kernel_size: 1 }",
        "type: 'Pooling' bottom: 'a' top: 'a' pooling_param { kernel_size: 1 }",
        "type: 'Crop' bottom: 'a' bottom: 'b' top: 'a'",
        "type: 'LRN' bottom: 'a' top: 'a'",
        "type: 'EuclideanLoss' bottom: 'a' bottom: 'b' top: 'a'",
        "type: 'Tile' bottom: 'a' top: 'a' tile_param { tiles: 2 }",
        "type: 'Concat' bottom: 'a' bottom: 'b' top: 'a'",
    ],
)
def test_layers_that_overwrite_what_they_still_read_are_refused_in_place(layer):
    with pytest.raises(PrototxtError, match=r"net.prototxt:1: layer 'it' .*works not in place.*another name"):
        fed(layer, (2, 3, 4, 4), (2, 3, 4, 4))


@pytest.mark.parametrize(
    ("shape", "top"), [((4,), (4, 1, 1, 1)), ((4, 6), (4, 6, 1, 1)), ((4, 6, 5), (4, 6, 5, 1)), ((2, 3, 4, 5),) * 2]
)
def test_mvn_has_tops_of_four_axes(shape, top):
    x = values(*shape)
    net = fed("type: 'MVN' bottom: 'a' top: 'y' mvn_param { normalize_variance: false }", shape)
    _, blobs = run(net, x)
    assert net.shapes["y"] == blobs["y"].shape == top
    wanted = x.reshape(top) - x.reshape(top).mean(dim=(2, 3), keepdim=True)
    np.testing.assert_allclose(blobs["y"].detach().numpy(), wanted.detach().numpy(), atol=1e-6)


def test_contrastive_loss_takes_embeddings_with_and_without_axes_of_one():
    a, b, labels = values(4, 2), values(4, 2), torch.tensor([1.0, 0.0, 0.0, 1.0])
    layer = "type: 'ContrastiveLoss' bottom: 'a' bottom: 'b' bottom: 'c' top: 'l' contrastive_loss_param { margin: 2 }"
    plain, _ = run(fed(layer, (4, 2), (4, 2), (4,)), a, b, labels)
    apart, _ = run(fed(layer, (4, 2, 1, 1), (4, 2), (4, 1)), a.reshape(4, 2, 1, 1), b, labels.reshape(4, 1))
    assert apart == plain
    one, _ = run(fed(layer, (4,), (4, 1), (4,)), a[:, 0], b[:, :1], labels)  # a single axis is that of the pairs
    assert one.isfinite()


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        ("type: 'EuclideanLoss' bottom: 'a' bottom: 'b' top: 'l'", [(2, 3, 1, 1, 1), (2, 3)]),
        ("type: 'ContrastiveLoss' bottom: 'a' bottom: 'b' bottom: 'c' top: 'l'", [(2, 3, 1, 1, 1), (2, 3), (2,)]),
        ("type: 'HingeLoss' bottom: 'a' bottom: 'b' top: 'l'", [(2, 3, 1, 1, 1), (2,)]),
        ("type: 'MultinomialLogisticLoss' bottom: 'a' bottom: 'b' top: 'l'", [(2, 3), (2, 1, 1, 1, 1)]),
        ("type: 'MVN' bottom: 'a' top: 'l'", [(2, 3, 1, 1, 1)]),
    ],
)
def test_older_layers_take_up_to_four_axes(layer, shapes):
    with pytest.raises(
        PrototxtError, match=r"net.prototxt:1: .* takes up to four axes, found \(2, .*Reshape or Flatten"
    ):
        fed(layer, *shapes)


def test_a_target_of_five_axes_gets_no_gradient():
    layer = "type: 'EuclideanLoss' bottom: 'a' bottom: 'b' top: 'l'"
    net = fed(layer, (2, 3), (2, 3, 1, 1, 1))
    a, b = values(2, 3), values(2, 3, 1, 1, 1)
    run(net, a, b.detach())[0].backward()
    assert a.grad is not None
    with pytest.raises(PrototxtError, match="no gradient for five axes"):
        run(net, a, b)[0].backward()


@pytest.mark.parametrize("layer", ["HingeLoss", "MultinomialLogisticLoss"])
def test_scores_of_one_axis_are_rows_of_one_class(layer):
    x = torch.tensor([0.5, 0.25])
    net = fed(f"type: '{layer}' bottom: 'a' bottom: 'b' top: 'l'", (2,), (2,))
    loss, _ = run(net, x, torch.zeros(2))
    wanted = (1 - x).mean() if layer == "HingeLoss" else -x.log().mean()
    assert float(loss) == pytest.approx(float(wanted))


@pytest.mark.parametrize("kind", ["Bias", "Scale"])
def test_a_scalar_second_bottom_goes_with_any_axis(kind):
    x, scalar = values(3), torch.tensor(2.0)
    _, blobs = run(fed(f"type: '{kind}' bottom: 'a' bottom: 'b' top: 'y'", (3,), ()), x, scalar)
    assert torch.equal(blobs["y"], x + 2 if kind == "Bias" else x * 2)


def test_arg_max_of_one_axis_has_a_place_for_each_row():
    net = fed("type: 'ArgMax' bottom: 'a' top: 'y'", (3,))
    _, blobs = run(net, values(3).detach())
    assert blobs["y"].tolist() == [[[0.0]], [[0.0]], [[0.0]]] and net.shapes["y"] == (3, 1, 1)


def test_embed_has_no_gradient_for_learned_indices():
    net = fed("type: 'Embed' bottom: 'a' top: 'y' embed_param { num_output: 2 input_dim: 3 }", (4,))
    _, blobs = run(net, torch.tensor([0.0, 1.0, 2.0, 0.0], requires_grad=True))
    with pytest.raises(PrototxtError, match="indices have no gradient"):
        blobs["y"].sum().backward()


def test_flatten_may_end_right_before_it_starts():
    settings = "flatten_param { axis: %d end_axis: %d }"
    x = values(2, 3, 4)
    net = fed("type: 'Flatten' bottom: 'a' top: 'y' " + settings % (1, 0), x.shape)
    assert net.shapes["y"] == run(net, x)[1]["y"].shape == (2, 1, 3, 4)
    with pytest.raises(PrototxtError, match="end_axis comes before axis"):
        fed("type: 'Flatten' bottom: 'a' top: 'y' " + settings % (2, 0), x.shape)


def test_dummy_data_takes_one_form_of_its_shape():
    with pytest.raises(PrototxtError, match="not both"):
        fed("type: 'DummyData' top: 'y' dummy_data_param { shape { dim: 2 } height: 2 }")


@pytest.mark.parametrize(("power", "shift", "wanted"), [(-1, 0, np.inf), (0.5, -1, np.nan), (3, -2, -8)])
def test_a_power_of_a_constant_is_computed_as_in_c(power, shift, wanted):
    settings = f"power_param {{ scale: 0 power: {power} shift: {shift} }}"
    _, blobs = run(fed(f"type: 'Power' bottom: 'a' top: 'y' {settings}", (2,)), values(2))
    np.testing.assert_array_equal(blobs["y"].detach().numpy(), [wanted] * 2)


@pytest.mark.parametrize("kind", ["xavier", "msra", "positive_unitball"])
def test_fillers_that_count_rows_are_refused_for_a_single_number(kind):
    with pytest.raises(PrototxtError, match=rf"net.prototxt:1: .*filler '{kind}' needs a blob with an axis"):
        fed(
            f"type: 'PReLU' bottom: 'a' top: 'y' prelu_param {{ channel_shared: true filler {{ type: '{kind}' }} }}",
            (2, 3),
        )


def test_a_logarithm_of_a_constant_has_gradient_zero():
    x = values(3)
    _, blobs = run(fed("type: 'Log' bottom: 'a' top: 'y' log_param { scale: 0 }", (3,)), x)
    blobs["y"].sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0] * 3


def test_spp_of_too_small_an_image_says_so():
    layer = "type: 'SPP' bottom: 'a' top: 'y' spp_param { pyramid_height: 3 }"
    with pytest.raises(
        PrototxtError, match=r"layer 'it' \(SPP\): an image of 2x5 is too small .*smaller pyramid_height"
    ):
        fed(layer, (1, 1, 2, 5))
    assert fed(layer, (1, 1, 4, 4)).shapes["y"] == (1, 1 + 4 + 16)


@pytest.mark.parametrize("settings", ["pad_h: 1", "stride_w: 2", "pad: 1 pad_h: 1 pad_w: 1", "kernel_h: 2 kernel_w: 2"])
def test_pooling_takes_a_whole_or_both_halves(settings):
    with pytest.raises(PrototxtError, match="give "):
        fed(f"type: 'Pooling' bottom: 'a' top: 'y' pooling_param {{ kernel_size: 2 {settings} }}", (1, 1, 4, 4))


def test_half_a_kernel_size_has_no_effect_beside_the_whole():
    net = fed("type: 'Pooling' bottom: 'a' top: 'y' pooling_param { kernel_size: 2 kernel_w: 4 }", (1, 1, 4, 4))
    assert net.shapes["y"] == (1, 1, 3, 3)
    assert [note for note in net.notes if "kernel_w has no effect" in note]


def test_the_loss_weight_of_a_parameter_has_no_effect():
    net = fed("type: 'Parameter' top: 'y' loss_weight: 2 parameter_param { shape { dim: 3 } }")
    net.node("it").tensors()[0].fill_(1)
    assert float(run(net)[0]) == 0 and "loss_weight has no effect" in net.notes[0]


@pytest.mark.parametrize(
    ("shape", "settings", "said"),
    [((5, 3), "", "InnerProduct with this axis"), ((1, 2, 3, 3, 3), "axis: 0", "up to three axes.*higher axis")],
)
def test_a_convolution_slides_over_one_to_three_axes(shape, settings, said):
    with pytest.raises(PrototxtError, match=said):
        layer = (
            f"type: 'Convolution' bottom: 'a' top: 'y' convolution_param {{ num_output: 4 kernel_size: 1 {settings} }}"
        )
        fed(layer, shape)


def test_a_power_of_minus_zero_keeps_its_sign():
    _, blobs = run(fed("type: 'Power' bottom: 'a' top: 'y' power_param { power: -1 }", (1,)), torch.tensor([-0.0]))
    assert float(blobs["y"]) == -np.inf


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "InfogainLoss"])
def test_scores_and_labels_have_as_many_rows(kind):
    more = " bottom: 'c'" if kind == "InfogainLoss" else ""
    layer = f"type: '{kind}' bottom: 'a' bottom: 'b'{more} top: 'l'"
    with pytest.raises(PrototxtError, match="another first axis: put a Reshape before"):
        fed(layer, (2, 3, 4), (8,), (3, 3))
    assert fed(layer, (2, 3, 4), (2, 4), (3, 3)).shapes["l"] == ()


def test_a_batch_size_is_that_of_the_axes_before_the_classes():
    x, labels = values(1, 3, 2, 5), torch.zeros(1, 3, 2)
    layer = (
        "type: 'SoftmaxWithLoss' bottom: 'a' bottom: 'b' softmax_param { axis: -1 } loss_param { normalization: %s }"
    )
    by = {mode: run(fed(layer % mode, x.shape, labels.shape), x, labels)[0].item() for mode in ("BATCH_SIZE", "NONE")}
    assert by["NONE"] == pytest.approx(6 * by["BATCH_SIZE"])


def test_prelu_takes_up_to_four_axes():
    with pytest.raises(PrototxtError, match="takes up to four axes"):
        fed("type: 'PReLU' bottom: 'a' top: 'y'", (2, 3, 1, 1, 1))


def test_a_window_past_the_edge_has_place_minus_one():
    net = fed("type: 'Pooling' bottom: 'a' top: 'y' top: 'at' pooling_param { kernel_size: 3 stride: 4 }", (1, 1, 5, 8))
    x = values(1, 1, 5, 8)
    _, blobs = run(net, x)
    places = blobs["at"].flatten().long().tolist()
    assert [place == -1 for place in places] == [False, False, True] * 2
    assert x.flatten()[[p for p in places if p >= 0]].tolist() == blobs["y"].flatten()[[0, 1, 3, 4]].tolist()


def test_a_scalar_factor_with_a_bias_needs_an_axis_for_the_bias():
    layer = "type: 'Scale' bottom: 'a' bottom: 'b' top: 'y' scale_param { bias_term: true %s }"
    with pytest.raises(PrototxtError, match="axis 1 of a blob with 1 axes"):
        fed(layer % "", (3,), ())
    net = fed(layer % "axis: 0", (3,), ())
    assert net.node("it").layer.blobs[0].shape == ()


def test_crop_takes_sizes_from_a_bottom_with_more_axes():
    layer = "type: 'Crop' bottom: 'a' bottom: 'b' top: 'y'"
    assert fed(layer, (2, 3, 4, 5), (9, 9, 2, 3, 7)).shapes["y"] == (2, 3, 2, 3)
    with pytest.raises(PrototxtError, match="bottoms of shapes"):
        fed(layer, (2, 3, 4, 5), (2, 3, 2))


def test_an_accuracy_within_the_best_none_is_zero():
    layer = "type: 'Accuracy' bottom: 'a' bottom: 'b' top: 'y' accuracy_param { top_k: 0 }"
    _, blobs = run(fed(layer, (2, 3), (2,), phase="TEST"), torch.eye(2, 3), torch.tensor([0.0, 1.0]), train=False)
    assert float(blobs["y"]) == 0


def test_empty_arrays_are_refused():
    with pytest.raises(PrototxtError, match=r"net.prototxt:1: .*top 'a' of shape \(0, 2\) is empty"):
        fed("type: 'ReLU' bottom: 'a' top: 'y'", (0, 2))


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4, 5), 1), ((2, 3, 4, 5), -2), ((2, 3, 4, 5), 0), ((2, 3, 6), 1)])
def test_im2col_has_the_values_that_a_convolution_multiplies(shape, axis):
    window = f"num_output: 2 kernel_size: 2 stride: 2 pad: 1 dilation: 2 axis: {axis} bias_term: false"
    window = f"convolution_param {{ {window} }}"
    x = values(*shape)
    convolved = fed(f"type: 'Convolution' bottom: 'a' top: 'y' {window}", shape)
    (weight,) = convolved.node("it").tensors()
    weight.copy_(values(*weight.shape).detach())
    net = fed(f"type: 'Im2col' bottom: 'a' top: 'y' {window}", shape)
    columns = run(net, x)[1]["y"]
    assert columns.shape == net.shapes["y"]
    wanted = run(convolved, x)[1]["y"]
    product = torch.tensordot(columns.movedim(axis, -1), weight.flatten(1), dims=([-1], [1])).movedim(-1, axis)
    np.testing.assert_allclose(product.detach().numpy(), wanted.detach().numpy(), atol=1e-5)


def test_batch_reindex_selects_from_rows():
    with pytest.raises(PrototxtError, match="expected rows to select from"):
        fed("type: 'BatchReindex' bottom: 'a' bottom: 'b' top: 'y'", (), (1,))


@pytest.mark.parametrize("kind", ["Convolution", "Im2col"])
def test_a_kernel_may_exceed_its_bottom_by_less_than_the_stride(kind):
    """C rounds (4 - 5) / 3 to 0: there is one window, and it meets zeros behind the edge."""
    window = "convolution_param { num_output: 2 kernel_size: 5 stride: %d weight_filler { type: 'xavier' } }"
    net = fed(f"type: '{kind}' bottom: 'a' top: 'y' {window % 3}", (1, 2, 4, 6))
    wider = fed(f"type: '{kind}' bottom: 'a' top: 'y' {window % 3}", (1, 2, 5, 6))
    x = values(1, 2, 4, 6)
    found, wanted = (run(n, v)[1]["y"] for n, v in ((net, x), (wider, torch.nn.functional.pad(x, (0, 0, 0, 1)))))
    assert net.shapes["y"] == found.shape == wider.shapes["y"]
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), atol=1e-6)
    with pytest.raises(PrototxtError, match="kernel spans 5 of 4"):
        fed(f"type: '{kind}' bottom: 'a' top: 'y' {window % 1}", (1, 2, 4, 6))


@pytest.mark.parametrize("kind", ["HingeLoss", "MultinomialLogisticLoss"])
def test_a_loss_of_rows_has_labels_along_the_first_axis(kind):
    with pytest.raises(PrototxtError, match="another first axis"):
        fed(f"type: '{kind}' bottom: 'a' bottom: 'b' top: 'l'", (3, 4), (1, 3))


def test_infogain_loss_has_no_older_form_of_normalization():
    layer = "type: 'InfogainLoss' bottom: 'a' bottom: 'b' bottom: 'c' top: 'l' loss_param { normalize: true }"
    with pytest.raises(PrototxtError, match="use normalization"):
        fed(layer, (2, 3), (2,), (3, 3))


def test_an_infogain_matrix_may_have_any_shape():
    layer = "type: 'InfogainLoss' bottom: 'a' bottom: 'b' bottom: 'c' top: 'l'"
    x, labels, matrix = values(2, 3), torch.tensor([0.0, 2.0]), values(3, 3).detach()
    flat, square = (run(fed(layer, (2, 3), (2,), m.shape), x, labels, m)[0] for m in (matrix.reshape(-1, 1), matrix))
    assert flat.item() == square.item()
    with pytest.raises(PrototxtError, match="for 3 classes"):
        fed(layer, (2, 3), (2,), (3, 2))


def test_batch_norm_takes_no_single_number():
    with pytest.raises(PrototxtError, match="found a single number"):
        fed("type: 'BatchNorm' bottom: 'a' top: 'y'", ())
