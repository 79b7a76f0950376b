"""The layout of a face set: how its file names are read, described by a TOML file.

A layout has::

    title = "KDEF"                    what people call it
    example = "AF01ANS.JPG"           a name as it should be
    pattern = '(?P<person>..)...'     regular expression of the whole name, without suffix, in any letter case
    match = "name"                    or "path": of the path below the folder, with /
    subject = "{sex}{person}"         from groups of the pattern; {number:02} fills up with zeros
    nearly = '...'                    names that begin so and do not fit are refused as misspelt
    [emotions]                        what the group "emotion" (or a label file) may say; without it, any word for one
    AF = "fear"
    [keep]                            values of groups that are taken; pictures of others are counted
    view = ["S"]
    [labels]                          emotions stand in files of their own (CK+)
    ending = "_emotion.txt"           a picture's label file has its name and this ending; it holds a number
    sequence = "{person}_{sequence}"  pictures of one sequence: those without a label file are other frames
    frame = "frame"                   group that numbers them
    first = "neutral"                 emotion of the first frame of a sequence with a label
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from siamplex.corpus.emotion_words import code_of
from siamplex.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_BYTES = 1 << 16
_FIELD = re.compile(r"\{(\w+)(?::(\d{1,2}))?\}")
_KEYS = {"title", "example", "pattern", "match", "subject", "nearly", "emotions", "keep", "labels"}
_LABEL_KEYS = {"ending", "sequence", "frame", "first"}
# in order of preference if several fit equally many files
BUILT_IN = ("nimstim", "kdef", "rafd", "jaffe", "ckplus", "faces", "taiwanese", "emotion-person", "emotion")


@dataclass(frozen=True)
class Labels:
    """Label files: how their names end, what makes a sequence, which group numbers its frames, its first's emotion."""

    ending: str
    sequence: str
    frame: str
    first: str


@dataclass(frozen=True)
class Layout:
    """One layout as its file has it; ``name`` is the file's, ``emotions`` is None where any word for one counts."""

    name: str
    title: str
    example: str
    pattern: re.Pattern[str]
    subject: str
    by_path: bool = False
    nearly: re.Pattern[str] | None = None
    emotions: Mapping[str, str] | None = None
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Labels | None = None

    @property
    def expected(self) -> str:
        """What an error says that names should be like."""
        return f"{'paths' if self.by_path else 'names'} of the layout {self.name}, such as {self.example}"

    def groups(self, path: Path, folder: Path) -> dict[str, str] | None:
        """What the pattern finds in the name of a file below ``folder``; None where it does not fit."""
        text = path.relative_to(folder).with_suffix("").as_posix() if self.by_path else path.stem
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        groups = {name: value or "" for name, value in found.groupdict().items()}
        if self.emotions is None and self.emotion(groups["emotion"]) is None:
            return None  # a folder that is not called by an emotion
        return groups

    def emotion(self, said: str) -> str | None:
        """The code of what a name or label says; None where the layout knows no such emotion."""
        return code_of(said) if self.emotions is None else self.emotions.get(said.casefold())

    def who(self, groups: Mapping[str, str]) -> str:
        """The subject's name."""
        return self.filled(self.subject, groups)

    def filled(self, template: str, groups: Mapping[str, str]) -> str:
        """A template with its groups; names of one case, folders as they are written."""

        def one(match: re.Match[str]) -> str:
            text = groups[match.group(1)]
            if match.group(2) and text.isdecimal():
                text = f"{int(text):0{int(match.group(2))}d}"
            return text if self.by_path else text.upper()

        return _FIELD.sub(one, template)

    def set_aside(self, groups: Mapping[str, str]) -> str | None:
        """Why a picture that fits is left out; None where it is taken."""
        for group, kept in self.keep.items():
            if groups[group].casefold() not in map(str.casefold, kept):
                return f"{group} other than {' or '.join(kept)}"
        return None


def built_in() -> list[Layout]:
    """The layouts that come with siamplex, in the order in which they are asked."""
    return [find(name) for name in BUILT_IN]


def find(name: str) -> Layout:
    """A layout by its name, or from a TOML file.  Raises InputError."""
    if name.casefold() in BUILT_IN:
        source = resources.files("siamplex.corpus") / "layouts" / f"{name.casefold()}.toml"
        return parse(source.read_text(encoding="utf-8"), Path(f"{name.casefold()}.toml"))
    path = Path(name)
    if path.suffix.lower() != ".toml":
        raise InputError(name, f"a layout ({', '.join(BUILT_IN)}) or a file FILE.toml", "neither")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(path, f"a layout of at most {_MAX_BYTES} bytes", "a larger file")
        return parse(path.read_bytes().decode("utf-8-sig"), path)
    except UnicodeDecodeError:
        raise InputError(path, "a layout in UTF-8", "other bytes") from None
    except (OSError, ValueError) as error:
        raise InputError(path, "a readable layout", getattr(error, "strerror", None) or str(error)) from None


def parse(text: str, path: Path) -> Layout:
    """A layout from the text of its file.  Raises InputError, naming the key."""
    try:
        content = tomllib.loads(text.replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(path, "TOML", str(error)) from None
    _check_keys(path, content, _KEYS, "")
    for key in ("title", "example", "pattern", "subject"):
        if not isinstance(content.get(key), str) or not content[key]:
            raise InputError(path, f"a text '{key}'", "another value" if key in content else "none")
    match = content.get("match", "name")
    if match not in ("name", "path"):
        raise InputError(path, "match = 'name' or 'path'", f"{match!r}")
    pattern = _expression(path, "pattern", content["pattern"])
    labels = _labels(path, content, pattern)
    needed = {"emotion"} if labels is None else set()
    needed |= {found.group(1) for found in _FIELD.finditer(content["subject"])}
    if labels:
        needed |= {labels.frame, *(found.group(1) for found in _FIELD.finditer(labels.sequence))}
    keep = _keep(path, content.get("keep", {}))
    missing = sorted((needed | set(keep)) - set(pattern.groupindex))
    if missing:
        raise InputError(path, f"a group (?P<{missing[0]}>...) in the pattern", "none")
    if not _FIELD.search(content["subject"]):
        raise InputError(path, "a subject such as {person}, of groups of the pattern", f"'{content['subject']}'")
    if labels and "emotions" not in content:
        raise InputError(path, "a table [emotions] of what labels may say", "none")
    return Layout(
        name=path.stem,
        title=content["title"],
        example=content["example"],
        pattern=pattern,
        subject=content["subject"],
        by_path=match == "path",
        nearly=_expression(path, "nearly", content["nearly"]) if "nearly" in content else None,
        emotions=_emotions(path, content["emotions"]) if "emotions" in content else None,
        keep=keep,
        labels=labels,
    )


def _check_keys(path: Path, table: Any, known: set[str], where: str) -> None:
    if not isinstance(table, dict):
        raise InputError(path, f"a table [{where}]", repr(table))
    strange = sorted(set(table) - known)
    if strange:
        raise InputError(path, f"of {where or 'a layout'} {', '.join(sorted(known))}", f"'{strange[0]}'")


def _expression(path: Path, key: str, text: Any) -> re.Pattern[str]:
    try:
        return re.compile(str(text), re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(path, f"a regular expression '{key}'", str(error)) from None


def _emotions(path: Path, table: Any) -> dict[str, str]:
    if not isinstance(table, dict) or not table:
        raise InputError(path, "a table [emotions]", "another value")
    found = {}
    for said, word in table.items():
        code = code_of(word) if isinstance(word, str) else None
        if code is None:
            raise InputError(path, f'an emotion for {said}, such as "fear"', repr(word))
        found[said.casefold()] = code
    return found


def _keep(path: Path, table: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, dict) or not all(
        isinstance(values, list) and values and all(isinstance(v, str) for v in values) for values in table.values()
    ):
        raise InputError(path, 'a table [keep] of lists such as view = ["S"]', "other values")
    return {group: tuple(values) for group, values in table.items()}


def _labels(path: Path, content: Mapping[str, Any], pattern: re.Pattern[str]) -> Labels | None:
    if "labels" not in content:
        return None
    table = content["labels"]
    _check_keys(path, table, _LABEL_KEYS, "labels")
    for key in ("ending", "sequence", "frame"):
        if not isinstance(table.get(key), str) or not table[key]:
            raise InputError(path, f"a text '{key}' in [labels]", "none")
    first = table.get("first", "")
    if first and (not isinstance(first, str) or code_of(first) is None):
        raise InputError(path, "an emotion as 'first' in [labels]", repr(first))
    return Labels(table["ending"], table["sequence"], table["frame"], (code_of(first) or "") if first else "")
