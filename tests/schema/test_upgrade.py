"""Nets of Caffe's older forms come back in today's, fields and lines."""

from __future__ import annotations

import pytest

from siamplex.engine.net import layer_types as _types  # noqa: F401  (says which layer types are known)
from siamplex.errors import PrototxtError
from siamplex.schema import messages, prototxt
from siamplex.schema.messages import enum_name
from siamplex.schema.old_messages import V0_TYPES, V1_TYPES

V1 = """name: "old"
layers {
  name: "d" type: DATA top: "x" top: "l"
  data_param { source: "s"
    scale: 0.5
    mean_file: "m" crop_size: 9 mirror: true batch_size: 4 backend: LMDB }
  transform_param { mean_value: 3 }
  include: { phase: TRAIN }
}
layers {
  name: "c" type: CONVOLUTION bottom: "x" top: "c"
  blobs_lr: 1
  blobs_lr: 2
  weight_decay: 1 weight_decay: 0
  param: "w" param: "b" blob_share_mode: PERMISSIVE
  convolution_param { num_output: 3
    kernel_size: 5 }
}
layers { name: "loss" type: SOFTMAX_LOSS bottom: "c" bottom: "l" top: "loss" loss_weight: 0.3 exclude { phase: TEST } }
"""


def test_v1_layers():
    parsed = prototxt.parse(V1, "NetParameter", "old.prototxt")
    net = parsed.message
    assert not net.layers and [layer.type for layer in net.layer] == ["Data", "Convolution", "SoftmaxWithLoss"]
    data, conv, loss = net.layer
    assert (data.transform_param.scale, data.transform_param.mean_file) == (0.5, "m")
    assert (data.transform_param.crop_size, data.transform_param.mirror) == (9, True)
    assert list(data.transform_param.mean_value) == [3] and not data.data_param.HasField("scale")
    assert data.data_param.batch_size == 4 and enum_name(data.include[0], "phase") == "TRAIN"
    assert [(p.name, p.lr_mult, p.decay_mult) for p in conv.param] == [("w", 1, 1), ("b", 2, 0)]
    assert enum_name(conv.param[0], "share_mode") == "PERMISSIVE" and not conv.param[1].HasField("share_mode")
    assert list(loss.loss_weight) == [pytest.approx(0.3)] and len(loss.exclude) == 1
    assert parsed.line("layer", 1, "param", 1, "lr_mult", 0) == 13
    assert parsed.line("layer", 1, "convolution_param", 0, "kernel_size", 0) == 17
    assert parsed.line("layer", 0, "transform_param", 0, "scale", 0) == 5
    assert parsed.line("layer", 2, "nothing") == 19


V0 = """input: "x" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "x" top: "padded" }
layers { layer { name: "conv1" type: "conv" num_output: 4
  kernelsize: 5
  stride: 2 group: 1 biasterm: false weight_filler { type: "xavier" } blobs_lr: 1. blobs_lr: 2. weight_decay: 0.5 }
  bottom: "padded" top: "conv1" }
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 dropout_ratio: 0.9 }
  bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } bottom: "pool1" top: "norm1" }
layers { layer { name: "fc" type: "innerproduct" num_output: 7 bias_filler { value: 1 } } bottom: "norm1" top: "fc" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.25 } bottom: "fc" top: "fc" }
layers { layer { name: "cat" type: "concat" concat_dim: 0 } bottom: "fc" bottom: "fc" top: "cat" }
"""


def test_v0_layers_and_padding():
    parsed = prototxt.parse(V0, "NetParameter", "oldest.prototxt")
    layers = {layer.name: layer for layer in parsed.message.layer}
    assert list(layers) == ["input", "conv1", "relu1", "pool1", "norm1", "fc", "drop", "cat"]
    assert list(layers["input"].input_param.shape[0].dim) == [2, 3, 9, 9] and not parsed.message.input
    conv = layers["conv1"]
    assert list(conv.bottom) == ["x"] and list(conv.convolution_param.pad) == [2]
    p = conv.convolution_param
    assert (p.num_output, list(p.kernel_size), list(p.stride), p.bias_term) == (4, [5], [2], False)
    assert p.weight_filler.type == "xavier" and [(s.lr_mult, s.decay_mult) for s in conv.param] == [(1, 0.5), (2, 1)]
    pool = layers["pool1"].pooling_param
    assert (enum_name(pool, "pool"), pool.kernel_size, pool.stride, pool.pad) == ("AVE", 3, 2, 1)
    assert not layers["pool1"].HasField("dropout_param")  # as Caffe, which says so and goes on
    assert layers["norm1"].lrn_param.k == 2 and layers["fc"].inner_product_param.bias_filler.value == 1
    assert layers["drop"].dropout_param.dropout_ratio == 0.25 and layers["cat"].concat_param.concat_dim == 0
    assert parsed.line("layer", 1, "convolution_param", 0, "kernel_size", 0) == 4
    assert parsed.line("layer", 1, "bottom", 0) == 6 and parsed.line("layer", 5, "x") == 11


def test_v0_data_layers():
    text = """layers { layer { name: "d" type: "TYPE" source: "s" batchsize: 3 scale: 0.1 meanfile: "m" cropsize: 5
      mirror: true rand_skip: 7 } top: "x" }"""
    for kind, field in (("data", "data_param"), ("images", "image_data_param")):
        (layer,) = prototxt.parse(text.replace("TYPE", kind), "NetParameter").message.layer
        p, t = getattr(layer, field), layer.transform_param
        assert (p.source, p.batch_size, p.rand_skip) == ("s", 3, 7)
        assert (round(t.scale, 6), t.mean_file, t.crop_size, t.mirror) == (0.1, "m", 5, True)


def test_every_old_type_has_todays_name_and_every_field_its_message():
    assert len(V1_TYPES) == 40 and set(V0_TYPES.values()) < set(V1_TYPES.values())
    today = {f.name: f.message_type for f in messages.LayerParameter.DESCRIPTOR.fields}
    for field in messages.V1LayerParameter.DESCRIPTOR.fields:
        if field.name.endswith("_param"):
            assert field.message_type is today[field.name]


@pytest.mark.parametrize(
    "shape", ["input_shape { dim: 2 dim: 3 }", "input_dim: 2 input_dim: 3 input_dim: 1 input_dim: 1"]
)
def test_inputs_become_a_layer_and_lines_move_on(shape):
    parsed = prototxt.parse(f'input: "a"\n{shape}\nlayer {{\n type: "ReLU" bottom: "a" top: "b" }}', "NetParameter")
    assert [layer.type for layer in parsed.message.layer] == ["Input", "ReLU"]
    assert parsed.line("layer", 0, "top", 0) == 1 and parsed.line("layer", 1, "type", 0) == 4


def test_both_shapes_of_an_input_give_the_newer_one_and_old_rates_of_statistics_go():
    text = """input: "a" input_shape { dim: 2 dim: 3 } input_dim: 9
    layer { name: "n" type: "BatchNorm" bottom: "a" top: "b" param { lr_mult: 1 } param { } param { } }"""
    first, second = prototxt.parse(text, "NetParameter").message.layer
    assert list(first.input_param.shape[0].dim) == [2, 3] and not second.param


def test_nets_inside_a_solver_are_upgraded():
    text = "net_param {" + V1 + "} test_net_param {" + V0 + '} test_net_param { layer { type: "ReLU" } }'
    parsed = prototxt.parse(text, "SolverParameter")
    assert parsed.message.net_param.layer[1].type == "Convolution" and not parsed.message.net_param.layers
    assert [len(n.layer) for n in parsed.message.test_net_param] == [8, 1]
    assert parsed.line("net_param", 0, "layer", 1, "param", 1, "lr_mult", 0) == 13


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('layer { name: "a" }\nlayers { name: "b" }', ":1: 'layer' beside 'layers', the .*Caffe refuses to upgrade"),
        ('layer { name: "a" }\nlayers { layer { } }', ":1: 'layer' beside 'layers', .*Caffe leaves every 'layer' out"),
        ('layers {\n name: "t"\n type: TRIPLET_LOSS }', ":3: layer 't': type TRIPLET_LOSS is none of .*ABSVAL.*Slice"),
        ("layers { type: BATCH_NORM }", 'type BATCH_NORM is none of .*; layer { type: "BatchNorm" } is today'),
        ('layers {\n type: "Convolution" }', ":2: .*Convolution is none of the old form's.*today's form"),
        ('layer { name: "c"\n type: CONVOLUTION }', r":2: layer 'c': .*'layers' is the old form"),
        ('layer { name: "c" type: "ReLU"\n blobs_lr: 1 }', ":2: layer 'c' .*'blobs_lr'.* of the old form"),
        ('layers { layer {\n name: "x" type: "fft" } }', ":2: layer 'x': type 'fft' is none of the oldest form's"),
        ('layers { layer { name: "c" type: "conv" }\n bottom: "no" }', ":2: layer 'c': bottom 'no' is no top"),
        ('input: "a"\ninput_dim: 1', ":2: 1 inputs with 1 input_dim, not four each"),
        ('name: "n"\ninput: "a"', r":2: input 'a' has no shape; state one for each input: input_shape \{ dim: 1"),
        ('input: "a" input_shape { dim: 1 }\nlayers { layer { name: "r" type: "relu" } bottom: "a" }',
         ":1: input 'a' has no shape"),  # Caffe's upgrade of the oldest form drops input_shape
        ('input: "a" input: "b" input_shape { }', "2 inputs with 1 shapes"),
        (
            'input: "a" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1\n'
            'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "a" top: "b" }\n'
            'layers { layer { name: "r" type: "relu" } bottom: "b" top: "c" }',
            ":3: layer 'r': only a conv or pool layer",
        ),
        (
            'layer { name: "t"\n type: "TripletLoss" triplet_loss_param {\n margin: 1 } }',
            r":2: layer 't': type 'TripletLoss' is not supported.*Slice.*Eltwise.*known: AbsVal, Accuracy",
        ),
        ('layer { name: "r" type: "ReLU"\n relu_param { slope: 1 } }', r":2: layer 'r' \(ReLU\): field 'slope' of"),
        ('layer { name: "r" type: "Relu"\n my_param { } }', r":1: layer 'r': type 'Relu' is not known; 'ReLU' is"),
        ('layer { name: "r" type: "Pooling"\n pooling_param { pool: SUM } }', r":2: layer 'r' \(Pooling\): .*SUM"),
    ],
)  # fmt: skip
def test_refuses(text, message):
    with pytest.raises(PrototxtError, match=message):
        prototxt.parse(text, "NetParameter", "net.prototxt")


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ("input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5", [[1, 2, 3, 4]]),
        ("input_shape { dim: 6 dim: 7 } input_shape { dim: 8 }", [[6, 7]]),
        ("input_shape { dim: 6 dim: 7 } input_dim: 1", [[6, 7]]),
    ],
)
def test_sizes_beyond_those_of_the_inputs_have_no_effect(given, shapes):
    layer = prototxt.parse(f'input: "a" {given}', "NetParameter").message.layer[0]
    assert (layer.type, list(layer.top)) == ("Input", ["a"])
    assert [list(shape.dim) for shape in layer.input_param.shape] == shapes


def test_comments_in_latin_1_and_lines_of_other_systems(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes('# Gewichte f\xfcr\r\nname: "a"\r\nlayer { name: "b"\r\n oops: 1 }'.encode("latin-1"))
    with pytest.raises(PrototxtError, match=r"net.prototxt:4: layer 'b' \(\): field 'oops'"):
        prototxt.read(path, "NetParameter")
    path.write_bytes('# Gewichte f\xfcr\nname: "a"'.encode("latin-1"))
    assert prototxt.read(path, "NetParameter").message.name == "a"
    path.write_bytes("\ufeffname: 'b'".encode())
    assert prototxt.read(path, "NetParameter").message.name == "b"
