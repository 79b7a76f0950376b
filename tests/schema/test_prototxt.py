from __future__ import annotations

import math
from pathlib import Path

import pytest

from siamplex.errors import InputError, PrototxtError
from siamplex.schema import locations, messages, prototxt
from siamplex.schema.messages import enum_name

NET = """# a comment
name: "n"
layer {
  name: "conv" type: "Convolution"
  convolution_param < num_output: 4
    kernel_size: [3, 5]
    weight_filler { type: "xavier" } >
}
layer { name: "pool"
  pooling_param { pool: AVE
    kernel_size: 2 } }
"""


def test_reads_text_and_remembers_lines():
    parsed = prototxt.parse(NET, "NetParameter", "net.prototxt")
    assert list(parsed.message.layer[0].convolution_param.kernel_size) == [3, 5]
    assert enum_name(parsed.message.layer[1].pooling_param, "pool") == "AVE"
    assert parsed.line("layer", 0, "convolution_param", 0, "num_output", 0) == 5
    assert parsed.line("layer", 0, "convolution_param", 0, "kernel_size", 1) == 6
    assert parsed.line("layer", 1, "pooling_param", 0, "kernel_size", 0) == 11
    # a field that is not there: the line of the message around it
    assert parsed.line("layer", 1, "pooling_param", 0, "stride", 0) == 10
    assert str(parsed.error("wrong", "name", 0)) == "net.prototxt:2: wrong"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: 'x'\nlays { }",
            r"x.prototxt:2: field 'lays' of NetParameter is not supported: .*; is 'layers' meant[?]$",
        ),
        ("layer {\n lrn_param { alfa: 1 }\n}", r":2: field 'alfa' of LRNParameter is not supported"),
        ("layer { name: 'a'\n top_k_param { } }", r":2: layer 'a' .*Caffe 1.0 has no such field, .*; take it out"),
        ("layer {\n convolution_params { } }", r":2: .*; is 'convolution_param' meant[?]$"),
        ("layers { layer { name: 'a'\n kernel_size: 3 } }", r":2: .*of V0LayerParameter .*; is 'kernelsize' meant[?]$"),
        ("layer { name: 'a'\n data_param { source: TRAIN_DB } }", r":2: .*: 'TRAIN_DB'; source takes text in quotes$"),
        ("layer { name: 'a'\n data_param { source: no.txt } }", r":2: .*: 'no'; source takes text in quotes$"),
        ("layer {\n relu_param { negative_slope: steep } }", r":2: .*: steep; negative_slope takes a number$"),
        (
            "layer {\n inner_product_param { num_output: CLASSES } }",
            r":2: .*: CLASSES; num_output takes a whole number$",
        ),
        ("layer {\n inner_product_param { num_output: -1 } }", r"x.prototxt:2: Value out of range: -1$"),
        ("layer {\n pooling_param { pool: MIN }\n}", r":2: .*no value MIN"),
        ("layer {\n name: }", r":2:"),
        ("layer { name: 'a'\n type: 'ReLU }", r":2: layer 'a' \(.*\): String missing ending quote: "),
        ("layer { name: 'a'", r"x.prototxt:"),
    ],
)
def test_refuses_with_the_line(text, message):
    with pytest.raises(PrototxtError, match=message):
        prototxt.parse(text, "NetParameter", "x.prototxt")


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(InputError, match="a readable prototxt, found nothing there"):
        prototxt.read(tmp_path / "none", "NetParameter")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="found a binary file"):
        prototxt.read(tmp_path / "binary", "NetParameter")


def test_nesting_without_end_is_refused():
    with pytest.raises(PrototxtError):
        prototxt.parse("layer { " * 3000, "NetParameter")


def test_writes_what_it_reads(tmp_path):
    parsed = prototxt.parse(NET, "NetParameter").message
    prototxt.write(tmp_path / "out.prototxt", parsed, "two\nlines")
    assert (tmp_path / "out.prototxt").read_text().startswith("# two\n# lines\n")
    assert prototxt.read(tmp_path / "out.prototxt", "NetParameter").message == parsed


def test_reads_all_golden_files(goldens: Path):
    for file in sorted(goldens.glob("*/*.prototxt")):
        kind = "SolverParameter" if file.name == "solver.prototxt" else "NetParameter"
        parsed = prototxt.read(file, kind)
        again = prototxt.parse(prototxt.to_text(parsed.message), kind)
        assert again.message == parsed.message


def test_caffes_defaults():
    """Defaults that ports get wrong."""
    layer = messages.LayerParameter()
    assert layer.lrn_param.local_size == 5 and layer.lrn_param.alpha == 1 and layer.lrn_param.k == 1
    assert layer.contrastive_loss_param.margin == 1 and not layer.contrastive_loss_param.legacy_version
    assert layer.slice_param.axis == 1 and layer.dropout_param.dropout_ratio == 0.5
    assert enum_name(layer.data_param, "backend") == "LEVELDB"
    solver = messages.SolverParameter()
    assert solver.clip_gradients == -1 and solver.iter_size == 1 and solver.test_initialization
    assert solver.regularization_type == "L2" and solver.type == "SGD" and solver.snapshot_after_train


@pytest.mark.parametrize(
    ("text", "value"),
    [("- 0.5", -0.5), ("-\n  .5", -0.5), ("- 2", -2), ("- inf", -math.inf), ("-0.5 # - 3", -0.5), ("-  1e-2f", -0.01)],
)
def test_a_minus_apart_from_its_number(text, value):
    """Caffe's parser takes a sign and a number, with space between them or not."""
    parsed = prototxt.parse(f'layer {{ name: "- 1" power_param {{ shift: {text}\n}} }}\nlayer {{ }}', "NetParameter")
    assert parsed.message.layer[0].power_param.shift == pytest.approx(value)
    assert parsed.message.layer[0].name == "- 1"
    assert parsed.line("layer", 1) == 3 + text.count("\n")


def test_places_in_a_text_of_many_levels():
    """Paths are kept down to a hundred messages in one another, and what comes after them is still found."""
    text = "layer { " * 100_000 + "} " * 100_000 + '\nlayer { name: "after" }'
    found = locations.scan(text)
    assert len(found) < 200 and found[("layer", 1, "name", 0)] == (2, '"after"')
    with pytest.raises(PrototxtError):
        prototxt.parse(text, "NetParameter")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("net:\nbase_lr: 1", r":2: .*; net on line 1 has no value$"),
        ("momentum: # later\ndisplay: 1", r":2: .*; momentum on line 1 has no value$"),
        ("max_iter: 1e4", r":1: .*; max_iter takes a whole number$"),
        ("solver_mode: gpu", r":1: SolverMode has no value gpu; GPU is meant \(known: CPU, GPU\)$"),
        ('solver_mode: "CPU"', r':1: SolverMode has no value "CPU"; CPU is meant, without quotes \(known: CPU, GPU\)$'),
        ("solver_mode: NPU", r":1: SolverMode has no value NPU; a fork of Caffe may have it \(known: CPU, GPU\)$"),
        ("base_lr: 0,1", r":1: field '1' .*: no field has a number for its name: one value stands where a comma"),
        ("warmup_iter: 3", r":1: .*take it out, if the solver means the same without it$"),
        ("net: \u201ca\u201d", r":1: U\+201C \(LEFT DOUBLE QUOTATION MARK\) .*: use plain quotes$"),
        ("net: \u00a0'a'", r":1: U\+00A0 .*: use plain blanks$"),
    ],
)
def test_what_is_wrong_with_a_solvers_text_is_said_with_what_to_do(text, said):
    with pytest.raises(PrototxtError, match=said):
        prototxt.parse(text, "SolverParameter", "s.prototxt")
