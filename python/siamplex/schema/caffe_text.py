"""Prototxt text as Caffe's parser, protobuf's in C++, takes it, where Python's differs.

Python's takes more in a few places: other blanks than ASCII's, a plus sign, underscores in numbers, unknown escapes.
"""

from __future__ import annotations

import re
import unicodedata

from siamplex.schema.locations import tokens

_STRING_OR_COMMENT = re.compile(r"""("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|\#[^\n]*""")
_ESCAPE = re.compile(
    r"""\\(?:[abfnrtv\\?'"0-7]|[xX][0-9a-fA-F]|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|(?P<bad>.))""", re.DOTALL
)
_NO_NUMBER = re.compile(r"\+.*|-?[\d.][\w.+-]*_[\w.+-]*|-?(?:inf|infinity|nan)f", re.IGNORECASE)


def with_newlines(text: str) -> str:
    """Text with ``\\n`` at the end of each line; a lone carriage return is a blank and ends no comment, as in Caffe."""
    text = text.replace("\r\n", "\n")
    if "\r" not in text:
        return text
    text = _STRING_OR_COMMENT.sub(lambda found: found.group(1) or found.group().replace("\r", " "), text)
    return text.replace("\r", "\n")


def without_comments(text: str) -> str:
    """Text without what stands in comments."""
    return _STRING_OR_COMMENT.sub(lambda found: found.group(1) or "#", text)


def fault(text: str) -> tuple[int, str] | None:
    """Line and description of the first thing in a text that Caffe's parser refuses and Python's does not, if any."""
    for kind, token, line in tokens(text):
        if kind == "other" and not token.isascii():
            name = unicodedata.name(token, "a character")
            plain = "plain quotes" if "QUOTATION" in name else "plain blanks" if token.isspace() else "plain characters"
            return line, f"U+{ord(token):04X} ({name}) outside of text in quotes: use {plain}"
        if kind == "string":
            bad = next((found for found in _ESCAPE.finditer(token) if found.group("bad")), None)
            if bad:
                return line, f"{token} has the unknown escape {bad.group()}"
        if kind == "word" and _NO_NUMBER.fullmatch(token):
            return line, f"{token} is no number"
    return None
