"""The line of each field of a prototxt, so that an error can name it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+-]+)
      | (?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)


_DEEPEST = 100  # messages in one another: more than any parser of protobuf follows
_APART = re.compile(r"-[ \t\n]+[\d.in]")


def _words_and_signs(text: str) -> Iterator[re.Match[str]]:
    """The tokens of a text but for blanks and line ends; what is no token is passed over."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        at = match.end() if match else at + 1
        if match is not None and match.lastgroup not in ("space", "newline"):
            yield match


def names(text: str) -> Iterator[tuple[str, int, int]]:
    """Each name of a message field (a word before ``{``, ``<`` or ``:`` and one of these): it, its start and end."""
    word: re.Match[str] | None = None
    for match in _words_and_signs(text):
        if word and match.group() in ("{", "<"):
            yield word.group(), word.start(), word.end()
        if not (word and match.group() == ":"):
            word = match if match.lastgroup == "word" else None


def joined_signs(text: str) -> str:
    """Text with each minus that stands apart from its number put before it, as Caffe's parser takes it."""
    if not _APART.search(text):
        return text
    parts, done = [], 0
    minus: re.Match[str] | None = None
    for match in _words_and_signs(text):
        if minus and match.lastgroup == "word" and re.match(r"[\d.]|inf|nan", match.group()):
            parts += [text[done : minus.start()], text[minus.end() : match.start()], "-"]
            done = match.start()
        minus = match if match.group() == "-" else None
    return "".join([*parts, text[done:]])


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:  # the text parser will refuse it with its own message
            at += 1
            continue
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "newline":
            line += 1
        elif kind != "space":
            yield kind, match.group(), line


def locate(text: str) -> dict[Path, int]:
    """Map each field's path, e.g. ``("layer", 3, "pooling_param", 0, "pool", 0)``, to its line.

    Every name is followed by its occurrence number within its message.  Text that is not a valid
    prototxt gives whatever could be followed; finding faults is the parser's task.
    """
    return {path: line for path, (line, _) in scan(text).items()}


def scan(text: str) -> dict[Path, tuple[int, str]]:
    """Map each field's path, as of :func:`locate`, to its line and value as written; "" for a message."""
    found: dict[Path, tuple[int, str]] = {}
    stack: list[tuple[Path, Counter[str]]] = [((), Counter())]
    name: str | None = None
    in_list = False
    tokens = list(_tokens(text))
    for (kind, token, line), (_, after, _) in zip(tokens, [*tokens[1:], ("", "", 0)], strict=True):
        if token in ("{", "<"):
            path, counts = stack[-1]
            if name is not None and len(stack) > _DEEPEST:
                stack.append((path, Counter()))
            elif name is not None:
                child: Path = (*path, name, counts[name])
                counts[name] += 1
                found[child] = line, ""
                stack.append((child, Counter()))
            name = name if in_list else None
        elif token in ("}", ">"):
            if len(stack) > 1:
                stack.pop()
            name = None
        elif token == "[":
            in_list = True
        elif token == "]":
            in_list, name = False, None
        elif token in (":", ",", ";"):
            continue
        elif name is None or (kind == "word" and after == ":" and not in_list):  # a name whose value is missing
            name = token if kind == "word" and not token[0].isdigit() and after in (":", "{", "<") else None
        else:
            path, counts = stack[-1]
            here = (*path, name, counts[name])
            found[here] = line, token
            counts[name] += 1
            name = name if in_list else None
    return found
