"""Texts that Python's parser of protobuf takes and Caffe's, which is C++'s, does not, and the other way round."""

from __future__ import annotations

import pytest

from siamplex.errors import InputError, PrototxtError
from siamplex.schema import prototxt

POWER = 'layer {{ name: "p"\n power_param {{ shift: {} }} }}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POWER.format("+1"), r":2: \+1 is no number"),
        (POWER.format("1_000"), ":2: 1_000 is no number"),
        (POWER.format("inff"), ":2: inff is no number"),
        (POWER.format("-nanF"), ":2: -nanF is no number"),
        ('name: "a"\nlayer\u00a0{ }', r":2: U\+00A0 \(NO-BREAK SPACE\) outside of text in quotes"),
        ('name: "a"\nlayer { name: "in\\q" }', r""":2: "in\\q" has the unknown escape \\q"""),
        ("name: 'a\\8'", r"unknown escape \\8"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(PrototxtError, match=message):
        prototxt.parse(text, "NetParameter", "x.prototxt")


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("1e+5", 1e5),
        ("- 1", -1),
        ("-\n1", -1),
        ("- # down\n 1", -1),
        ("1.5F", 1.5),
        (".5", 0.5),
        ("-inf", -float("inf")),
    ],
)
def test_takes_numbers(number, value):
    assert prototxt.parse(POWER.format(number), "NetParameter").message.layer[0].power_param.shift == value


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (r'"\x61\142\\\""', 'ab\\"'),
        ("'a' # one\n\"b\u00e4+1\"", "ab\u00e4+1"),
    ],
)
def test_takes_strings(text, name):
    assert prototxt.parse(f"name: {text}", "NetParameter").message.name == name


def test_a_carriage_return_alone_ends_no_comment(tmp_path):
    path = tmp_path / "n.prototxt"
    path.write_bytes(b'name: "a#"\rlayer { name: "b" }\r# or\rlayer { name: "c" }\r\nlayer { name: "d" }')
    assert [layer.name for layer in prototxt.read(path, "NetParameter").message.layer] == ["b", "d"]


def test_control_characters_stand_in_comments_alone(tmp_path):
    path = tmp_path / "n.prototxt"
    path.write_bytes(b'name: "a" # \x1b[1mbold\x1b[0m')
    assert prototxt.read(path, "NetParameter").message.name == "a"
    for text in (b'name: "a"\x1a', b'name: "a" # \x00'):
        path.write_bytes(text)
        with pytest.raises(InputError, match=r"expected a prototxt .text., found a binary file"):
            prototxt.read(path, "NetParameter")
