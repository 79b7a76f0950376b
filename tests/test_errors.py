from __future__ import annotations

import pytest

from siamplex.errors import InputError, PrototxtError, Stopped, UsageError


@pytest.mark.parametrize(
    "error", [InputError("a\nb", "c\r", "\x1b[31m"), UsageError("x\ny"), PrototxtError("p", 3, "z\0")]
)
def test_errors_are_one_line_of_printable_characters(error):
    assert str(error).isprintable()


def test_what_was_escaped_can_still_be_read():
    assert str(InputError("f.csv", "a name", "'é\x1b[2J'")) == r"f.csv: expected a name, found 'é\x1b[2J'"


def test_a_stop_has_the_shells_exit_code():
    assert Stopped(15, "x").exit_code == 143 and UsageError("x").exit_code == 2
