from __future__ import annotations

import pytest

from siamplex.cli import main
from siamplex.dropin.flags import parse
from siamplex.errors import UsageError


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "-solver=s.prototxt", "-weights=a,b", "-gpu=0"],
        ["train", "--solver=s.prototxt", "--weights=a,b", "--gpu=0"],
        ["--solver", "s.prototxt", "-weights", "a,b", "-gpu", "0", "train"],
        ["train", "-logtostderr", "-solver", "s.prototxt", "--weights", "a,b", "-gpu=0", "-v=1", "--noalsologtostderr"],
    ],
)
def test_flags_in_every_form(arguments):
    flags = parse(arguments)
    assert flags.command == "train"
    assert (flags["solver"], flags.listed("weights"), flags["gpu"]) == ("s.prototxt", ["a", "b"], "0")
    assert flags.number("iterations") == 50 and flags.effect("sigint_effect") == "stop"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one command of train, test, time, device_query, found ''"),
        (["train", "test"], "found 'train test'"),
        (["train", "-slover=x"], "unknown command line flag 'slover'"),
        (["train", "-solver"], "flag '-solver' is missing its value"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(UsageError, match=message):
        parse(arguments)


@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        ([], False),
        (["-allow_unfilled"], True),
        (["--allow-unfilled"], True),
        (["-allow_unfilled=1"], True),
        (["-allow_unfilled=false"], False),
        (["-allow_unfilled", "-noallow_unfilled"], False),
    ],
)
def test_unfilled_layers_are_let_pass_by_a_switch(written, allowed):
    assert parse([*written, "train", "-solver=x"]).allow_unfilled is allowed


def test_a_switch_is_no_text():
    with pytest.raises(UsageError, match="caffe: -allow_unfilled: expected true or false, found 'maybe'"):
        parse(["train", "-allow_unfilled=maybe"])


@pytest.mark.parametrize("flag", ["-h", "--help", "-help"])
def test_help(flag, capsys):
    with pytest.raises(SystemExit) as end:
        main(["caffe", flag])
    assert end.value.code == 0 and "device_query" in capsys.readouterr().out


def test_values_are_checked():
    with pytest.raises(UsageError, match="-iterations: expected a whole number, found 'x'"):
        parse(["time", "-iterations=x"]).number("iterations")
    with pytest.raises(UsageError, match="-sigint_effect: expected one of snapshot, stop, none, found 'go'"):
        parse(["train", "-sigint_effect=go"]).effect("sigint_effect")
