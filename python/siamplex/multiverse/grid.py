"""The grid of a multiverse: its settings, their values, and the cells they make.

The grid is a TOML file in multiversum's terms: ``[dimensions]`` lists the values of each setting; ``[reasons]`` says of
each value why it is defensible; ``seeds`` and ``folds`` stand beside them.  Errors name the line.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

from siamplex.errors import InputError
from siamplex.multiverse.store import PAPER, Value
from siamplex.multiverse.toml_lines import line_of

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

DEFAULTS = Path(__file__).with_name("defaults.toml")
LENGTH, VALIDATION = "length", "validation"  # which snapshot is shown: the last, or that of the lowest validation loss
VIEWS = ("iterations", "stop")  # settings that read the same training off at another place
PREFIX = ("scale", "pool3")  # settings that the frozen layers' features hang on
_MAX_BYTES = 1 << 20
_MANY = 1 << 20  # iterations, seeds or pairs a batch that nobody means


def _real(least: float, most: float, closed: bool = True) -> Callable[[Any], Value]:
    """A number from ``least`` (itself too where ``closed``) up to but without ``most``; fractions as "1/256" too."""

    def read(given: Any) -> Value:
        if isinstance(given, bool) or not isinstance(given, (int, float, str)):
            raise ValueError
        try:
            number = float(Fraction(given.replace(" ", ""))) if isinstance(given, str) else float(given)
        except ZeroDivisionError:
            raise ValueError from None
        if not (least <= number if closed else least < number) or not number < most:
            raise ValueError
        return number

    return read


def _whole(given: Any) -> Value:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= _MANY:
        raise ValueError
    return given


def _flag(given: Any) -> Value:
    if not isinstance(given, bool):
        raise ValueError
    return given


def _stop(given: Any) -> Value:
    if given not in (LENGTH, VALIDATION):
        raise ValueError
    return str(given)


@dataclass(frozen=True)
class Setting:
    """A setting that a grid may vary: its valid values, in words, and their parser (ValueError if not valid)."""

    name: str
    expected: str
    read: Callable[[Any], Value]


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("scale", "a factor on pixels above 0, such as 0.00390625 or '1/256'", _real(0, math.inf, closed=False)),
        Setting("pool3", "true or false", _flag),
        Setting("new_lr_mult", "a factor above 0", _real(0, math.inf, closed=False)),
        Setting("batch", "a number of pairs, 1 or more", _whole),
        Setting("base_lr", "a rate above 0", _real(0, math.inf, closed=False)),
        Setting("momentum", "a number from 0 up to 1, without 1", _real(0, 1)),
        Setting("weight_decay", "0 or more", _real(0, math.inf)),
        Setting("dropout", "a share from 0 up to 1, without 1", _real(0, 1)),
        Setting("iterations", "a number of iterations, 1 or more", _whole),
        Setting("stop", f"'{LENGTH}' or '{VALIDATION}'", _stop),
        Setting("margin", "a distance above 0", _real(0, math.inf, closed=False)),
    )
}


@dataclass(frozen=True)
class Training:
    """One training; several cells are read from it, one for each value of :data:`VIEWS`.

    ``settings`` are (name, value) of all settings other than those, by name.
    """

    control: str
    seed: int
    fold: int
    settings: tuple[tuple[str, Value], ...]

    @property
    def id(self) -> str:
        """A hash of control, seed, fold and settings."""
        return _id_of(self)

    def __getitem__(self, name: str) -> Value:
        return dict(self.settings)[name]


@dataclass(frozen=True)
class Cell:
    """One cell: control (``""`` for an ordinary one), seed, fold counted from 0, and every setting by name."""

    control: str
    seed: int
    fold: int
    settings: tuple[tuple[str, Value], ...]

    @property
    def id(self) -> str:
        """A hash of control, seed, fold and settings, the same in every grid that has the cell."""
        return _id_of(self)


def _id_of(one: Training | Cell) -> str:
    return _hash({"control": one.control, "seed": one.seed, "fold": one.fold, "settings": dict(one.settings)})


def _hash(what: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Grid:
    """The settings with their values, seeds and folds; trainings in a sample; numbers of controls.

    ``reasons`` has one text for each value where the file gives them.  ``shuffled`` counts trainings on shuffled labels
    for each ordinary one, ``untrained`` towers that are not trained at all.
    """

    path: Path
    dimensions: Mapping[str, tuple[Value, ...]]
    seeds: tuple[int, ...]
    folds: int
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cells: int = 150
    sample_seed: int = 1
    shuffled: float = 0.0
    untrained: int = 0
    text: str = field(default="", repr=False)

    def wrong(self, expected: str, found: str, *keys: str) -> InputError:
        """An error that names the line of a key, tables first."""
        line = line_of(self.text, *keys)
        return InputError(f"{self.path} line {line}" if line else self.path, expected, found)

    @property
    def trained(self) -> dict[str, tuple[Value, ...]]:
        """The dimensions that make a training another one."""
        return {name: values for name, values in self.dimensions.items() if name not in VIEWS}

    @property
    def size(self) -> int:
        """How many trainings the full grid has, controls not counted."""
        return math.prod(map(len, self.trained.values())) * len(self.seeds) * self.folds

    @property
    def views(self) -> list[dict[str, Value]]:
        """The settings at which each training is read."""
        some = {name: self.dimensions[name] for name in VIEWS}
        return [dict(zip(some, values, strict=True)) for values in product(*some.values())]

    def trainings(self) -> Iterator[Training]:
        """The full grid, in the order of the file."""
        names = list(self.trained)
        for values in product(*self.trained.values()):
            settings = tuple(sorted(zip(names, values, strict=True)))
            yield from (Training(PAPER, seed, fold, settings) for seed in self.seeds for fold in range(self.folds))

    def cells_of(self, training: Training) -> list[Cell]:
        """The cells read from one training."""
        each = [tuple(sorted({**dict(training.settings), **view}.items())) for view in self.views]
        return [Cell(training.control, training.seed, training.fold, settings) for settings in each]


def read(path: Path, own: Mapping[str, Value]) -> Grid:
    """Read a grid; settings it leaves out have the one value in ``own``.  Raises InputError, naming the line."""
    what = "a grid (siamplex multiverse)"
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_BYTES:
            raise InputError(path, f"{what} of at most {_MAX_BYTES} bytes", "a larger file")
        text = raw.decode("utf-8-sig")
        content = tomllib.loads(text)
    except OSError as error:
        raise InputError(path, what, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise InputError(path, what, "bytes that are no UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(path, f"{what} in TOML", str(error)) from None
    return _Reader(path, text, own).grid(content)


class _Reader:
    """Reads the tables of a grid; errors name ``path`` and the line of what is wrong."""

    def __init__(self, path: Path, text: str, own: Mapping[str, Value]) -> None:
        self._path, self._text, self._own = path, text, own

    def _wrong(self, expected: str, found: str, *keys: str) -> InputError:
        return Grid(self._path, {}, (), 0, text=self._text).wrong(expected, found, *keys)

    def grid(self, content: Mapping[str, Any]) -> Grid:
        known = ("seeds", "folds", "dimensions", "reasons", "sample", "controls")
        self._only(content, known)
        given = self._table(content, "dimensions")
        if not given:
            raise self._wrong("settings with their values in [dimensions]", "none", "dimensions")
        for name in given:
            if name not in SETTINGS:
                raise self._wrong(f"a setting ({', '.join(SETTINGS)})", f"'{name}'", "dimensions", name)
        dimensions = {
            name: self._values(name, given[name]) if name in given else (self._own[name],)
            for name in [*given, *(name for name in SETTINGS if name not in given)]
        }
        sample, controls = self._table(content, "sample"), self._table(content, "controls")
        self._only(sample, ("cells", "seed"), "sample")
        self._only(controls, ("shuffled", "untrained"), "controls")
        return Grid(
            self._path,
            dimensions,
            self._seeds(content.get("seeds", [1])),
            self._count(content.get("folds", 10), 3, "folds"),
            self._reasons(self._table(content, "reasons"), given),
            self._count(sample.get("cells", 150), 1, "sample", "cells"),
            self._count(sample.get("seed", 1), 0, "sample", "seed"),
            self._share(controls.get("shuffled", 0)),
            self._count(controls.get("untrained", 0), 0, "controls", "untrained"),
            self._text,
        )

    def _only(self, table: Mapping[str, Any], known: Sequence[str], *inside: str) -> None:
        for name in table:
            if name not in known:
                where = f" in [{inside[0]}]" if inside else ""
                raise self._wrong(f"one of {', '.join(known)}{where}", f"'{name}'", *inside, name)

    def _table(self, content: Mapping[str, Any], name: str) -> dict[str, Any]:
        table = content.get(name, {})
        if not isinstance(table, dict):
            raise self._wrong(f"a table [{name}]", _told(table), name)
        return table

    def _values(self, name: str, given: Any) -> tuple[Value, ...]:
        setting, keys = SETTINGS[name], ("dimensions", name)
        if not isinstance(given, list) or not given:
            found = "an empty list" if given == [] else _told(given)
            raise self._wrong(f"a list of values for {name}", found, *keys)
        values: list[Value] = []
        for one in given:
            try:
                value = setting.read(one)
            except (ValueError, OverflowError):
                raise self._wrong(f"{setting.expected} for {name}", _told(one), *keys) from None
            if value in values:
                raise self._wrong(f"each value of {name} once", f"{_told(one)} twice", *keys)
            values.append(value)
        return tuple(values)

    def _reasons(self, table: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        for name, reasons in table.items():
            if name not in given:
                raise self._wrong("reasons for settings of [dimensions]", f"'{name}'", "reasons", name)
            texts = isinstance(reasons, list) and all(isinstance(reason, str) for reason in reasons)
            if not texts or len(reasons) != len(given[name]):
                expected = f"{len(given[name])} texts, one for each value of {name}"
                raise self._wrong(expected, _told(reasons), "reasons", name)
        return {name: tuple(reasons) for name, reasons in table.items()}

    def _seeds(self, given: Any) -> tuple[int, ...]:
        fits = isinstance(given, list) and given and all(type(s) is int and 0 <= s < 2**31 for s in given)
        if not fits or len(set(given)) < len(given):
            raise self._wrong("a list of different seeds, each from 0 to 2147483647", _told(given), "seeds")
        return tuple(given)

    def _count(self, given: Any, least: int, *keys: str) -> int:
        if type(given) is not int or not least <= given <= _MANY:
            raise self._wrong(f"a whole number of at least {least} for {keys[-1]}", _told(given), *keys)
        return given

    def _share(self, given: Any) -> float:
        if type(given) not in (int, float) or not 0 <= given <= 1:
            raise self._wrong("a share from 0 to 1 for shuffled", _told(given), "controls", "shuffled")
        return float(given)


def _told(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."
