from __future__ import annotations

import numpy as np
import pytest
import torch

from siamplex.engine.net.arrays import values
from siamplex.engine.net.layer import Context
from siamplex.engine.net.layer_types import known_types
from siamplex.errors import InputError, PrototxtError
from siamplex.schema.weights import read_caffemodel, write_caffemodel
from tests.engine.conftest import make_net

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def fc(name, bottom="x", top=None, param="", more="", settings="num_output: 3 weight_filler { type: 'xavier' }"):
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top or name}" {param} '
        f"inner_product_param {{ {settings} }} {more} }}\n"
    )


def forward(net, **given):
    loss, blobs = net.forward(Context(train=True), {k: torch.as_tensor(v) for k, v in given.items()})
    return loss, blobs


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_all_that_the_issue_names_is_known():
    needed = set(
        "Data Slice Embed Reshape Convolution ReLU LRN Pooling InnerProduct Dropout Concat Flatten "
        "Softmax SoftmaxWithLoss Accuracy ContrastiveLoss Input".split()
    )
    assert needed <= set(known_types())


def test_include_and_exclude_rules():
    text = (
        INPUT
        + fc("always")
        + fc("train", more="include { phase: TRAIN }")
        + fc("test", more="include { phase: TEST }")
        + fc("not_test", more="exclude { phase: TEST }")
        + fc("deep", more="include { min_level: 2 }")
        + fc("staged", more="include { stage: 'a' not_stage: 'b' }")
    )
    names = {phase: [n.name for n in make_net(text, phase).nodes] for phase in ("TRAIN", "TEST")}
    assert names["TRAIN"] == ["in", "always", "train", "not_test"]
    assert names["TEST"] == ["in", "always", "test"]
    staged = [n.name for n in make_net("state { stage: 'a' level: 2 }" + text).nodes]
    assert {"deep", "staged"} <= set(staged)
    assert "staged" not in [n.name for n in make_net("state { stage: 'a' stage: 'b' }" + text).nodes]


def test_shared_parameters_gather_gradients_of_both_twins():
    text = INPUT + fc("a", param='param { name: "w" }') + fc("b", param='param { name: "w" }')
    net = make_net(text)
    assert [p.label for p in net.parameters] == ["a[0]", "a[1]", "b[1]"]
    net.learn()
    _, blobs = forward(net, x=X)
    (blobs["a"].sum() + 2 * blobs["b"].sum()).backward()
    alone = 3 * X.sum(axis=0)
    np.testing.assert_allclose(net.parameters[0].tensor.grad.numpy(), np.tile(alone, (3, 1)), rtol=1e-6)


def test_rates_of_shared_parameters():
    owner = fc("a", param='param { name: "w" }')
    net = make_net(INPUT + owner + fc("b", param='param { name: "w" lr_mult: 0 decay_mult: 3 }'))
    assert (net.parameters[0].lr_mult, net.parameters[0].decay_mult) == (0, 3)
    for rate in ("lr_mult", "decay_mult"):
        stated = fc("a", param=f'param {{ name: "w" {rate}: 1 }}')
        with pytest.raises(PrototxtError, match=rf"net.prototxt:3: layer 'b' .* has {rate} 1 in layer 'a', 0 here"):
            make_net(INPUT + stated + fc("b", param=f'param {{ name: "w" {rate}: 0 }}'))


def test_shared_shapes_must_agree_unless_permissive():
    other = "num_output: 3 transpose: true"
    four = INPUT.replace("dim: 3", "dim: 4")
    a = fc("a", param='param { name: "w" }')
    with pytest.raises(PrototxtError, match=r"has shape \(3, 4\) in layer 'a', \(4, 3\) here"):
        make_net(four + a + fc("b", param='param { name: "w" }', settings=other))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            INPUT + 'layer {\n name: "d"\n type: "Deconvolve" bottom: "x" top: "y" }',
            r"net.prototxt:4: .*'Deconvolve' is not",
        ),
        (INPUT + fc("a", bottom="nowhere"), r"net.prototxt:2: .*bottom 'nowhere' is no top"),
        (INPUT + fc("a") + fc("b", top="a"), r"net.prototxt:3: .*top 'a' is already the top"),
        (INPUT + fc("a", param="param {} param {} param {}"), "3 param entries for 2 blobs"),
        (INPUT + fc("a", more="loss_weight: 1 loss_weight: 2"), "2 loss weights for 1 tops"),
        (INPUT + fc("a", settings="num_output: 2 weight_filler { type: 'magic' }"), "filler 'magic' is not supported"),
        (INPUT + 'layer { name: "r" type: "ReLU" bottom: "x" bottom: "x" top: "r" }', "expected 1 bottoms, found 2"),
    ],
)
def test_refuses_by_name_and_line(text, message):
    with pytest.raises(PrototxtError, match=message):
        make_net(text)


def test_a_bottom_whose_layer_is_left_out_is_named_with_the_state():
    text = fc("b", bottom="a") + fc("late", top="b", more="exclude { stage: 'fit' }")
    staged = fc("a", more="include { stage: 'fit' }") + "\n" + text
    assert [node.name for node in make_net("state { stage: 'fit' }" + INPUT + staged).nodes][1:] == ["a", "b"]
    said = r"'a' is no top of a layer before it; layer 'a' makes it, .* leave it out of phase TEST, level 0, stages: "
    with pytest.raises(PrototxtError, match=said + "none$"):
        make_net(INPUT + staged, "TEST")
    with pytest.raises(PrototxtError, match=said + "check, x$"):
        make_net("state { stage: 'check' stage: 'x' }" + INPUT + staged, "TEST")
    with pytest.raises(
        PrototxtError, match=r"'b' is no top of a layer before it; layer 'late', which makes it, comes after it$"
    ):  # it comes too late
        make_net(
            "state { stage: 'fit' }"
            + INPUT
            + fc("c", bottom="b")
            + fc("late", top="b", more="exclude { stage: 'fit' }")
        )


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (INPUT + fc("conv10-b") + fc("c", bottom="conv10"), "'conv10' is no top .*; is 'conv10-b' meant[?]$"),
        (INPUT + fc("a") + fc("c", bottom="quite_other"), "'quite_other' is no top of a layer before it$"),
        (fc("c", bottom="data"), "'data' is no top .*; the net has no data: write input: \"data\" and input_shape"),
        (INPUT + fc("c", bottom="c"), "'c' is no top .*; layer 'c', which makes it, is that layer$"),
    ],
)
def test_what_a_missing_bottom_may_be(net, said):
    with pytest.raises(PrototxtError, match=said):
        make_net(net)


def test_loss_weights_and_in_place_layers():
    text = INPUT + fc("a", more="loss_weight: 0.5") + 'layer { name: "r" type: "ReLU" bottom: "a" top: "r" }'
    net = make_net(text + 'layer { name: "t" type: "Threshold" bottom: "r" top: "r" }')
    loss, blobs = forward(net, x=X - 3)
    w, b = (values(p.tensor) for p in net.parameters)
    plain = (X - 3) @ w.T + b
    assert float(loss) == pytest.approx(0.5 * plain.sum(), rel=1e-5)
    np.testing.assert_array_equal(blobs["r"].detach().numpy(), plain > 0)
    assert net.outputs == ["r"]


IN_PLACE = 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }'
READER = 'layer { name: "s" type: "Silence" bottom: "a" }'


@pytest.mark.parametrize("before", [fc("a", more="loss_weight: 0.5"), fc("a") + READER, fc("a") + fc("b", "a")])
def test_a_blob_with_other_readers_cannot_be_worked_on_in_place(before):
    """Caffe gives each reader a copy under another name and then finds the top produced by two layers."""
    with pytest.raises(PrototxtError, match=r":\d: layer 'r' .*'a' has other readers or a loss weight"):
        make_net(INPUT + before + IN_PLACE)


@pytest.mark.parametrize(
    ("dims", "message"),
    [("dim: 50000 dim: 50000", "2500000000 values, Caffe's blobs have at most"), ("dim: 1 " * 33, "33 axes")],
)
def test_blobs_that_caffe_cannot_make(dims, message):
    with pytest.raises(PrototxtError, match=message):
        make_net(
            f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}', shapes_only=True
        )


def test_readers_of_what_a_layer_in_place_left_are_as_many_as_wanted():
    net = make_net(INPUT + fc("a", more="loss_weight: 0") + IN_PLACE + READER + fc("b", "a") + fc("c", "a"))
    assert net.outputs == ["b", "c"]


def test_arrays_in_a_nets_text_are_refused():
    with pytest.raises(PrototxtError, match=r":2: layer 'a' .*arrays in a net's text are not read"):
        make_net(INPUT + fc("a", param="blobs { shape { dim: 1 } data: 1 }"))


ONES = "num_output: 3 weight_filler { type: 'ones' }"


def test_the_filler_of_a_shared_parameter_is_checked_in_each_layer():
    named = 'param { name: "w" }'
    make_net(INPUT + fc("a", param=named) + fc("b", param=named))
    with pytest.raises(PrototxtError, match=r"layer 'b' .*filler 'ones' is not supported"):
        make_net(INPUT + fc("a", param=named) + fc("b", param=named, settings=ONES))


@pytest.mark.parametrize("layer", ["'Tile' tile_param { tiles: 2 }", "'Reduction'"])
def test_a_layer_that_makes_another_size_cannot_work_in_place(layer):
    with pytest.raises(PrototxtError, match=r"layer 'a' .*works not in place.*: give its top another name than its"):
        make_net(INPUT + f"layer {{ name: 'a' bottom: 'x' top: 'x' type: {layer} }}")


def test_propagate_down_false_stops_the_gradient():
    text = INPUT + fc("a") + fc("b", bottom="a", more="propagate_down: false loss_weight: 1")
    net = make_net(text)
    net.learn()
    forward(net, x=X)[0].backward()
    assert net.parameters[0].tensor.grad is None
    assert net.parameters[2].tensor.grad is not None


def test_legacy_inputs():
    net = make_net('input: "x" input_dim: 2 input_dim: 3 input_dim: 1 input_dim: 1 ' + fc("a"))
    assert net.inputs == ["x"]
    assert tuple(forward(net, x=X.reshape(2, 3, 1, 1))[1]["a"].shape) == (2, 3)


def test_a_batch_may_be_smaller_than_declared_and_a_run_may_end_early():
    net = make_net(INPUT + fc("a") + fc("b", bottom="a"))
    _, blobs = net.forward(Context(train=False), {"x": torch.as_tensor(X[:1])}, until="a")
    assert "b" not in blobs and len(blobs["a"]) == 1
    with pytest.raises(PrototxtError, match="no layer has the top 'c'"):
        net.forward(Context(train=False), {"x": torch.as_tensor(X)}, until="c")


def test_test_nets_share_the_training_nets_parameters():
    train = make_net(INPUT + fc("a") + fc("only_train", more="include { phase: TRAIN }"))
    test = make_net(INPUT + fc("a") + fc("only_test", more="include { phase: TEST }"), "TEST", share_with=train)
    assert test.parameters[0].tensor is train.parameters[0].tensor


def test_weights_go_round(tmp_path):
    text = INPUT + fc("a", param='param { name: "w" }') + fc("b", param='param { name: "w" }') + fc("c")
    net = make_net(text, seed=1)
    path = tmp_path / "w.caffemodel"
    write_caffemodel(path, net.name, net.owned())
    other = make_net(text, seed=2)
    assert other.load(read_caffemodel(path), path) == ["a", "b", "c"]
    for mine, theirs in zip(net.parameters, other.parameters, strict=True):
        assert torch.equal(mine.tensor, theirs.tensor)


def test_weights_of_another_shape_are_refused(tmp_path):
    net = make_net(INPUT + fc("a"))
    with pytest.raises(InputError, match=r"f: expected shape \(3, 3\) for a\[0\], found \(3, 4\)"):
        net.load({"a": [np.zeros((3, 4), np.float32), np.zeros(3, np.float32)]}, "f")
    with pytest.raises(InputError, match="expected 2 arrays for layer 'a', found 1"):
        net.load({"a": [np.zeros((3, 3), np.float32)]}, "f")
    # four axes, as old files have them
    net.load({"a": [np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 1, 3), np.float32)]}, "f")
    assert bool((net.parameters[0].tensor == 1).all())
