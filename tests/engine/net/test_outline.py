"""Nets by their shapes: sources that are missing, what is assumed, what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from siamplex.engine.net.costs import cost_of
from siamplex.engine.net.layer_types import known_types
from siamplex.engine.net.outline import GuessError, Outline, outline
from siamplex.errors import PrototxtError
from siamplex.schema import messages, prototxt
from tests.engine.conftest import pair_lmdb  # noqa: F401  (fixture)


def of(text: str, phase: str = "TRAIN", **options: object) -> Outline:
    return outline(prototxt.parse(text, "NetParameter", "net.prototxt"), phase, **options)  # type: ignore[arg-type]


def shapes(found: Outline) -> dict[str, tuple[int, ...]]:
    return {one.blob: one.shape for one in found.assumed}


DATA = 'layer {{ name: "d" type: "Data" top: "x" top: "y" data_param {{ source: "no_lmdb" batch_size: 5 }} {} }}\n'
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }\n'
)
FC = 'layer { name: "f" type: "InnerProduct" bottom: "c" top: "f" inner_product_param { num_output: 7 } }\n'
SILENT = 'layer { type: "Silence" bottom: "y" }\n'
DISTANCE = 'layer { name: "e" type: "EuclideanLoss" bottom: "f" bottom: "y" } '
SOFTMAX = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "f" bottom: "y" top: "l" }\n'


def test_what_the_file_tells():
    found = of(DATA.format("transform_param { crop_size: 24 mean_value: 1 mean_value: 2 mean_value: 3 }") + CONV + FC)
    assert shapes(found) == {"x": (5, 3, 24, 24), "y": (5,)}
    assert found.missing == ("layer 'd' (Data): no_lmdb is not there",) and found.types == {"d": "Data"}
    grey = of(DATA.format("transform_param { crop_size: 24 force_gray: true }") + CONV)
    assert shapes(grey)["x"] == (5, 1, 24, 24)
    told = {one.blob: one.why for one in found.assumed}
    assert "tell it" in told["x"] and "crop_size" in told["x"]


def test_a_mean_file_that_is_missing_is_no_hindrance():
    found = of(DATA.format('transform_param { crop_size: 24 mean_file: "no.binaryproto" }') + CONV + FC + SOFTMAX)
    assert shapes(found) == {"x": (5, 3, 24, 24), "y": (5,)}
    assert "no_lmdb is not there; no.binaryproto is not there" in found.missing[0]


def test_given_shapes_win():
    found = of(DATA.format("transform_param { crop_size: 24 }") + CONV, given={"x": (2, 1, 9, 8)})
    assert found.net.shapes["c"] == (2, 4, 7, 6) and found.assumed[0].why == "given"
    told = of('input: "x" input_shape { dim: 1 dim: 1 dim: 5 dim: 5 }\n' + CONV, given={"x": (3, 2, 9, 9)})
    assert told.net.shapes["c"] == (3, 4, 7, 7)
    with pytest.raises(PrototxtError, match="no input or missing source has the top 'c'"):
        of(DATA.format("") + CONV, given={"c": (1,)})


H5 = 'layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "no" batch_size: 5 } }\n'


@pytest.mark.parametrize(
    ("rest", "blob", "shape"),
    [
        (FC + SOFTMAX, "y", (5,)),
        (SOFTMAX.replace('"f"', '"c"'), "y", (5, 1, 225, 225)),
        ('layer { type: "EuclideanLoss" bottom: "c" bottom: "y" }', "y", (5, 4, 225, 225)),
        (FC + 'layer { type: "SigmoidCrossEntropyLoss" bottom: "f" bottom: "y" }', "y", (5, 7)),
        (FC + 'layer { type: "ContrastiveLoss" bottom: "f" bottom: "f" bottom: "y" }', "y", (5,)),
        (FC + 'layer { type: "InfogainLoss" bottom: "f" bottom: "y" infogain_loss_param { source: "H" } }', "y", (5,)),
        # another source of maps, which gives four axes
        (
            'layer { type: "Data" name: "m" top: "m" data_param { source: "no" batch_size: 5 } }'
            'layer { type: "SoftmaxWithLoss" bottom: "c" bottom: "m" } layer { type: "Silence" bottom: "y" }',
            "m",
            (5, 1, 225, 225),
        ),
        (
            'layer { type: "Data" name: "m" top: "m" data_param { source: "no" batch_size: 5 } }'
            + FC + 'layer { type: "EuclideanLoss" bottom: "f" bottom: "m" }',
            "m",
            (5, 7, 1, 1),
        ),
        # by way of layers without parameters, whatever its name
        (FC + 'layer { type: "Power" bottom: "y" top: "z" }' + DISTANCE.replace('"y"', '"z"'), "y", (5, 7)),
        (FC + 'layer { type: "Silence" bottom: "y" }' + DISTANCE, "y", (5, 7)),
        (
            'layer { type: "Split" bottom: "y" top: "z" top: "w" } layer { type: "Silence" bottom: "z" } '
            'layer { type: "SoftmaxWithLoss" bottom: "c" bottom: "w" }',
            "y",
            (5, 1, 225, 225),
        ),
        (FC + 'layer { type: "Concat" bottom: "f" bottom: "y" top: "z" }', "y", (5, 7)),
        (FC + 'layer { type: "Flatten" bottom: "y" top: "z" }' + DISTANCE.replace('"y"', '"z"'), "y", (5, 7)),
    ],
)  # fmt: skip
def test_shapes_are_as_their_readers_need_them(rest, blob, shape):
    assert shapes(of(H5 + CONV + rest))[blob] == shape


@pytest.mark.parametrize(
    ("rest", "shape"),
    [
        ('layer { type: "Slice" bottom: "label" top: "a" top: "b" top: "e" }', (5, 3)),
        ('layer { type: "Slice" bottom: "label" top: "a" top: "b" slice_param { slice_point: 4 } }', (5, 5)),
    ],
)
def test_labels_of_several_values(rest, shape):
    assert shapes(of(H5.replace('"y"', '"label"') + CONV + rest))["label"] == shape


def test_data_gives_a_label_a_sample_and_no_more():
    told = DATA.format("transform_param { crop_size: 24 force_color: true }")
    assert shapes(of(told + CONV + FC + SOFTMAX)) == {"x": (5, 3, 24, 24), "y": (5,)}
    for rest, said in (
        (SOFTMAX.replace('"f"', '"c"'), r"2420 .*5|\(5,\)"),
        (FC + DISTANCE, r"bottoms of shapes \(5, 7\) and \(5,\)"),
    ):
        with pytest.raises(PrototxtError, match=said) as caught:
            of(told + CONV + rest)
        assert not isinstance(caught.value, GuessError)


def test_a_net_that_no_guess_fits_is_not_blamed():
    """The decoder of an autoencoder tells how long a picture is, and no layer of how many rows and columns."""
    net = H5 + CONV + FC + 'layer { name: "e" type: "Eltwise" bottom: "f" bottom: "x" top: "e" }\n'
    with pytest.raises(
        GuessError, match=r"net.prototxt:4: layer 'e' \(Eltwise\).*; that follows from guesses"
    ) as caught:
        of(net)
    assert [one.blob for one in caught.value.assumed] == ["x"]
    said = str(caught.value)
    assert "layer 'd' (HDF5Data): no is not there" in said and "--input x=5,3,227,227" in said
    lost = 'layer { name: "e" type: "Flatten" bottom: "x" top: "e" flatten_param { axis: 4 } }\n'
    with pytest.raises(GuessError):  # HDF5 may have five
        of(H5 + lost)
    assert of(H5 + lost, given={"x": (5, 3, 4, 4, 4)}).net.shapes["e"] == (5, 3, 4, 4, 4)
    with pytest.raises(PrototxtError) as refused:
        of(H5 + lost, given={"x": (5, 3, 4, 4)})
    assert not isinstance(refused.value, GuessError)


@pytest.mark.parametrize(
    "wrong",
    [
        CONV.replace("num_output: 4", ""),
        CONV.replace('bottom: "x"', ""),
        CONV.replace('bottom: "x"', 'bottom: "z"'),
        'layer { type: "EuclideanLoss" bottom: "x" }',
        'layer { type: "Flatten" bottom: "x" top: "e" flatten_param { axis: 3 end_axis: 1 } }',
    ],
)
def test_a_fault_that_no_shape_mends_is_the_nets(wrong):
    with pytest.raises(PrototxtError) as caught:
        of(H5 + wrong)
    assert not isinstance(caught.value, GuessError)


@pytest.mark.skipif("HDF5Data" not in known_types(), reason="no HDF5Data")
def test_columns_of_hdf5():
    data = 'layer { name: "d" type: "HDF5Data" top: "x" top: "label" '
    data += 'hdf5_data_param { source: "no" batch_size: 5 } }\n'
    flat = 'layer { type: "Flatten" bottom: "label" top: "flat" }' + DISTANCE.replace('"y"', '"flat"')
    found = of(data + CONV + FC + flat)
    assert shapes(found)["label"] == (5, 7) and shapes(found)["x"][:2] == (5, 3)
    cut = 'layer { type: "Slice" bottom: "label" top: "p" top: "q" }'
    sliced = of(data + CONV + FC + cut + SOFTMAX.replace('"y"', '"p"'))
    assert shapes(sliced)["label"] == (5, 2)


def test_labels_that_two_layers_want_otherwise_are_refused():
    loss = DISTANCE
    other = loss.replace('"e"', '"q"').replace('"f"', '"c"')
    with pytest.raises(PrototxtError, match=r"layer 'q' \(EuclideanLoss\): bottoms of shapes"):
        of(H5 + CONV + FC + loss + other)


def test_what_a_program_fills_in():
    unnamed, unsized = DATA.replace('source: "no_lmdb"', ""), DATA.replace("batch_size: 5", "")
    for text, said in (
        (unnamed, "it states no source, which a program must fill in"),
        (unsized, "it states no batch_size"),
    ):
        found = of(text.format("transform_param { crop_size: 24 }") + CONV)
        assert said in found.missing[0] and "is not read" not in found.missing[0]
        assert found.net.shapes["c"][1:] == (4, 22, 22)
    other = DATA.replace("data_param {{", "image_data_param {{")
    assert "(image_data_param is not read by type Data)" in of(other.format("") + CONV).missing[0]


@pytest.mark.parametrize(
    ("cut", "channels"),
    [
        ("", 6),
        ("slice_param { slice_point: 1 }", 2),
        ("slice_param { slice_point: 3 }", 6),
        ("slice_param { slice_dim: 1 slice_point: 3 }", 6),
    ],
)
def test_pairs_have_the_channels_of_two(cut, channels):
    text = DATA.format("transform_param { crop_size: 24 }")
    text += f'layer {{ name: "s" type: "Slice" bottom: "x" top: "a" top: "b" {cut} }}'
    found = of(text + 'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "e" }')
    assert shapes(found)["x"] == (5, channels, 24, 24)


def test_a_size_is_looked_for_with_which_the_net_goes_together():
    """Down by two and up again: an odd size does not come back."""
    text = DATA.format("") + 'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { stride: 2 } }'
    text += (
        'layer { name: "u" type: "Deconvolution" bottom: "p" top: "u" convolution_param { num_output: 3 kernel_size: 2 '
    )
    text += 'stride: 2 } }\nlayer { name: "e" type: "Eltwise" bottom: "u" bottom: "x" top: "e" }'
    found = of(text.replace("stride: 2 }", "kernel_size: 2 stride: 2 }", 1))
    shape = shapes(found)["x"]
    assert shape[1] == 3 and shape[2] % 2 == 0


def test_what_is_wrong_with_the_net_is_said_with_its_line():
    text = DATA.format("transform_param { crop_size: 24 }")
    for wrong, said in (
        (CONV.replace('bottom: "x"', 'bottom: "z"'), ":2: layer 'c' .*bottom 'z' is no top"),
        (CONV.replace("kernel_size: 3", "kernel_size: 30"), ":2: layer 'c' .*"),
        (CONV.replace("num_output: 4", 'num_output: 4 weight_filler { type: "odd" }'), ":2: .*filler 'odd'"),
        ('layer { name: "o" type: "Odd" bottom: "x" top: "o" }', ":2: layer 'o': type 'Odd'"),
        (CONV + CONV, ":3: .*top 'c' is already"),
    ):
        with pytest.raises(PrototxtError, match=said):
            of(text + wrong)
    with pytest.raises(PrototxtError, match=r":1: layer 'd' .*batch_size must be positive"):
        of(DATA.format("").replace("batch_size: 5", "batch_size: 0") + CONV)


def test_a_source_that_is_there_is_looked_at(pair_lmdb):  # noqa: F811
    text = DATA.format("").replace("no_lmdb", str(pair_lmdb)).replace("batch_size", "backend: LMDB batch_size")
    found = of(text + CONV)
    assert not found.assumed and found.net.shapes["x"] == (5, 2, 6, 6)
    with pytest.raises(PrototxtError, match="crop_size 30 of 6x6 samples"):
        of(text.replace("}  }", "} transform_param { crop_size: 30 } }") + CONV)
    (Path(pair_lmdb) / "data.mdb").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    broken = of(text + CONV)
    assert "no_lmdb" not in broken.missing[0] and shapes(broken)["x"][1] == 3


def test_no_values_are_drawn_and_memory_is_no_limit():
    huge = FC.replace("num_output: 7", "num_output: 900000000")
    found = of(DATA.format("transform_param { crop_size: 224 }") + CONV + huge)
    assert cost_of(found.net).parameters == 4 * 222 * 222 * 900000000 + 900000000 + 4 * 3 * 9 + 4
    with pytest.raises(PrototxtError, match="asks for more than any machine has"):
        of(DATA.format("") + CONV + FC.replace("7", "2000000000") + FC.replace("7", "2000000000").replace(
            '"c"', '"f"').replace('top: "f"', 'top: "g"'))  # fmt: skip


def test_memory_data_builds_and_refuses_to_run():
    from siamplex.engine.net.layer import Context

    text = 'layer { name: "m" type: "MemoryData" top: "x" top: "y"\n memory_data_param { batch_size: 2 channels: 3 '
    found = of(text + "height: 5 width: 6 } }\n" + CONV)
    assert not found.missing and found.net.shapes == {"x": (2, 3, 5, 6), "y": (2,), "c": (2, 4, 3, 4)}
    net = found.net
    with pytest.raises(PrototxtError, match=r":1: layer 'm' .*its values were not given"):
        net.forward(Context(train=True))
    with pytest.raises(PrototxtError, match=r":2: layer 'm' .*must be given, and positive"):
        of(text.replace("channels: 3", "") + "height: 5 width: 6 } }")


def test_costs_worked_out_by_hand():
    found = of(
        DATA.format("transform_param { crop_size: 24 }") + CONV
        + 'layer { name: "g" type: "Convolution" bottom: "c" top: "g" param { name: "w" lr_mult: 0 } '
          "convolution_param { num_output: 2 kernel_size: 3 group: 2 bias_term: false stride: 2 } }\n"
          'layer { name: "r" type: "ReLU" bottom: "g" top: "g" }\n'
          'layer { name: "u" type: "Deconvolution" bottom: "g" top: "u" '
          "convolution_param { num_output: 3 kernel_size: 4 stride: 2 } }\n"
          'layer { name: "f" type: "InnerProduct" bottom: "u" top: "f" inner_product_param { num_output: 7 } }\n'
        + SOFTMAX
    )  # fmt: skip
    cost = cost_of(found.net, found.types)
    by_name = {layer.name: layer for layer in cost.layers}
    assert by_name["d"].type == "Data" and by_name["d"].memory == 4 * (5 * 3 * 24 * 24 + 5)
    assert (by_name["c"].parameters, by_name["c"].multiply_adds) == (4 * 27 + 4, 5 * 22 * 22 * 4 * 27)
    assert (by_name["g"].parameters, by_name["g"].multiply_adds) == (2 * 2 * 9, 5 * 10 * 10 * 2 * 18)
    assert by_name["r"].memory == 0
    assert by_name["u"].tops == (("u", (5, 3, 22, 22)),)
    assert by_name["u"].multiply_adds == 5 * 10 * 10 * 2 * 3 * 16
    assert (by_name["f"].parameters, by_name["f"].multiply_adds) == (7 * 1452 + 7, 5 * 7 * 1452)
    frozen = 36
    assert cost.learned == cost.parameters - frozen
    blobs = sum(layer.memory for layer in cost.layers)
    assert cost.memory == 2 * blobs + 4 * (cost.parameters + 2 * cost.learned)
    state = messages.NetState()
    assert cost_of(of(DATA.format("") + CONV, "TEST", state=state).net).memory == sum(
        layer.memory for layer in cost_of(of(DATA.format("") + CONV, "TEST").net).layers
    ) + 4 * (4 * 27 + 4)


def test_a_dropout_of_ratio_one_in_phase_test_where_data_is_missing():
    net = """layer { name: "in" type: "Data" top: "x" data_param { source: "none" batch_size: 2 backend: LMDB } }
layer { name: "d" type: "Dropout" bottom: "x" top: "y" dropout_param { dropout_ratio: 1 } }
"""
    source = prototxt.parse(net, "NetParameter", "net.prototxt")
    shapes = outline(source, "TEST").net.shapes
    assert shapes["y"] == shapes["x"]
    with pytest.raises(PrototxtError, match=r"net.prototxt:2: layer 'd' .*dropout_ratio 1 is not between"):
        outline(source, "TRAIN")


def test_shapes_by_what_reads_them_first():
    slides = CONV.replace("kernel_size: 3", "kernel_size: 3 kernel_size: 5 kernel_size: 5")
    assert shapes(of(H5 + slides + SILENT))["x"] == (5, 3, 16, 227, 227)
    words = 'layer { name: "e" type: "Embed" bottom: "x" top: "e" embed_param { input_dim: 9 num_output: 4 } }\n'
    assert shapes(of(H5 + words + SILENT))["x"] == (5,)
    assert of(H5 + words + SILENT).net.shapes["e"] == (5, 4)


def test_the_size_of_an_autoencoders_pictures_is_that_of_its_output():
    net = (
        DATA.format("")
        + """layer { name: "in" type: "Flatten" bottom: "x" top: "in" }
    layer { name: "f" type: "InnerProduct" bottom: "in" top: "f" inner_product_param { num_output: 60 } }
    layer { name: "r" type: "Reshape" bottom: "f" top: "r" reshape_param { shape { dim: 0 dim: 3 dim: 4 dim: 5 } } }
    layer { name: "d" type: "Deconvolution" bottom: "r" top: "out"
      convolution_param { num_output: 3 kernel_size: 2 stride: 2 } }
    layer { name: "flat" type: "Flatten" bottom: "out" top: "flat" }
    layer { name: "e" type: "SigmoidCrossEntropyLoss" bottom: "flat" bottom: "in" top: "e" }"""
    )
    assert shapes(of(net))["x"] == (5, 3, 8, 10)


def test_sequences():
    net = (
        H5.replace('top: "y"', 'top: "cont" top: "y"')
        + """
    layer { name: "e" type: "Embed" bottom: "x" top: "e" embed_param { input_dim: 9 num_output: 4 } }
    layer { name: "l" type: "LSTM" bottom: "e" bottom: "cont" top: "l" recurrent_param { num_output: 3 } }
    layer { name: "p" type: "InnerProduct" bottom: "l" top: "p" inner_product_param { axis: 2 num_output: 9 } }
    layer { name: "s" type: "SoftmaxWithLoss" bottom: "p" bottom: "y" top: "s" softmax_param { axis: 2 } }"""
    )
    found = of(net)
    assert shapes(found) == {"x": (5, 16), "cont": (5, 16), "y": (5, 1, 16)}
    assert found.net.shapes["l"] == (5, 16, 3)
    bare = 'layer { name: "l" type: "RNN" bottom: "x" bottom: "y" top: "l" recurrent_param { num_output: 3 } }'
    assert shapes(of(H5 + bare)) == {"x": (5, 16, 64), "y": (5, 16)}
