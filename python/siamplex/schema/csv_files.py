"""Reading CSV files as people's programs save them, without trusting them.

The delimiter is taken from the header or from Excel's ``sep=`` line.  The text is UTF-8, UTF-16 with a byte order mark
(Excel's "Unicode text") or Windows-1252.  Numbers may have a decimal comma.  Whatever could be read in two ways is
refused.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from siamplex.errors import InputError
from siamplex.schema.file_kinds import EMPTY, TEXT, WORKBOOK, kind_of, words_for

MAX_BYTES = 256 << 20
_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"\t": "a tab"}
_SEP = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t|]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")  # 1,234: a thousand and more, or a little more than one

Aliases = Mapping[str, Collection[str]]


class Lines:
    """Rows of a CSV: iterating gives (line the row begins at, cells without blanks around them).

    Rows of empty cells alone are passed over.  Iterating raises InputError.
    """

    def __init__(self, path: Path, what: str, text: str, first: int, delimiter: str) -> None:
        self.path, self._what, self._text, self._first = path, what, text, first
        self.delimiter = delimiter
        self._mark: str | None = None

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self._rows()

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        # blanks before a quote would make it part of the text
        spaced = re.search(re.escape(self.delimiter) + ' +"', self._text) is not None
        handle = io.StringIO(self._text, newline="")
        reader = csv.reader(handle, delimiter=self.delimiter, strict=True, skipinitialspace=spaced)
        line = self._first
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise InputError(f"{self.path} line {line}", self._what, str(error)) from None
            if any("\0" in cell for cell in row):
                raise InputError(f"{self.path} line {line}", "text", "a zero byte")
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield line, cells
            line = self._first + reader.line_num

    def number(self, text: str) -> float:
        """The number in a cell, with a decimal point or, where the file has it so, a decimal comma.

        Raises ValueError for what is no number, and where the file's numbers could be read in two ways.
        """
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"'{text}' is no number")
        if self._mark is None:
            self._mark = self._decimal_mark()
        return float(text.replace(",", ".") if self._mark == "," else text)

    def _decimal_mark(self) -> str:
        """What the numbers of the whole file have before their decimals."""
        marked: dict[str, list[str]] = {",": [], ".": []}
        for _, cells in self._rows():
            for cell in cells:
                for mark, found in marked.items():
                    if mark in cell and _NUMBER.fullmatch(cell):
                        found.append(cell)
        if marked[","] and marked["."]:
            raise ValueError(f"both '{marked[','][0]}' and '{marked['.'][0]}': which is the decimal mark?")
        # a decimal comma goes with ';' and a decimal point with everything else: the other way round, it must be seen
        usual = "," if self.delimiter == ";" else "."
        for mark, found in marked.items():
            if mark != usual and found and all(_GROUPED.fullmatch(cell) for cell in found):
                raise ValueError(f"'{found[0]}', a thousand and more or a decimal fraction")
        return "," if marked[","] else "."


class Rows:
    """Rows under a header: iterating gives (``path line N``, values by column).  Iterating raises InputError."""

    def __init__(self, lines: Lines, names: Mapping[int, str], header: Sequence[str]) -> None:
        self._lines, self._names, self._width = lines, names, len(header)
        self.number = lines.number

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        for number, (line, cells) in enumerate(self._lines):
            if number == 0:
                continue
            where = f"{self._lines.path} line {line}"
            if any(cells[self._width :]):
                raise InputError(where, f"{self._width} values", f"{len(cells)}")
            # Excel leaves empty cells out at the end of some rows
            cells += [""] * (self._width - len(cells))
            yield where, {name: cells[at] for at, name in self._names.items()}


class _Unfit(ValueError):
    """A header that lacks a column, or has one twice."""

    def __init__(self, found: str, doubled: bool) -> None:
        super().__init__(found)
        self.doubled = doubled


def plain(name: str) -> str:
    """A heading without letter case, accents, blanks and dashes, for comparison."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if c.isalnum())


def read_lines(path: str | Path, what: str = "a readable CSV") -> Lines:
    """The rows of a CSV of at least two columns and at most MAX_BYTES.  Raises InputError."""
    path, text, first, said = _opened(path, what)
    return _lines(path, what, text, first, said, lambda header: sum(map(bool, header)) > 1)


def read_rows(
    path: str | Path, columns: Sequence[str], what: str = "a readable CSV", aliases: Aliases | None = None
) -> Rows:
    """The rows under a header that has at least ``columns``, in any letter case, or one of a column's ``aliases``.

    A column's own name counts before its aliases.  Raises InputError: for a column that is missing or there twice, a
    row with more cells than the header has.
    """
    path, text, first, said = _opened(path, what)
    faults: list[_Unfit] = []

    def fits(header: Sequence[str]) -> bool:
        try:
            _columns(header, columns, aliases or {})
        except _Unfit as fault:
            faults.append(fault)
            return False
        return True

    lines = _lines(path, what, text, first, said, fits)
    header = next((cells for _, cells in lines), None)
    expected = f"columns {', '.join(columns)}"
    if header is None:
        raise InputError(path, expected, "an empty file")
    while header and not header[-1]:
        header.pop()
    try:
        return Rows(lines, _columns(header, columns, aliases or {}), header)
    except _Unfit as fault:
        doubled = next((f for f in faults if f.doubled), fault)
        raise InputError(path, expected, str(doubled)) from None


def _columns(header: Sequence[str], columns: Sequence[str], aliases: Aliases) -> dict[int, str]:
    """The name of the column at each place; columns that are not asked for keep their own."""
    keys = [plain(name) for name in header]
    names = {at: name for at, name in enumerate(header) if name}
    for column in columns:
        places = [at for at, key in enumerate(keys) if key == plain(column)]
        places = places or [at for at, key in enumerate(keys) if key in aliases.get(column, ())]
        if not places:
            named = ", ".join(name for name in header if name)
            raise _Unfit(f"no column {column}" + (f" in '{named:.120}'" if named else ""), False)
        if len(places) > 1:
            raise _Unfit(f"'{header[places[0]]}' and '{header[places[1]]}', both a column {column}", True)
        names[places[0]] = column
    return names


def _opened(path: str | Path, what: str) -> tuple[Path, str, int, str | None]:
    """Path, text, number of its first line, and what a ``sep=`` line says."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(path, f"{what} of at most {MAX_BYTES} bytes", "a larger file")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(path, what, words_for(path, getattr(error, "strerror", None) or str(error))) from None
    _check_kind(path, what)
    text = _text(path, data)
    said = _SEP.match(text)
    return (path, text[said.end() :], 2, said.group(1)) if said else (path, text, 1, None)


def _check_kind(path: Path, what: str) -> None:
    """Refuse what is plainly another kind of file.  Raises InputError."""
    kind = kind_of(path)
    if kind is None or kind.name in (TEXT, EMPTY, WORKBOOK) or kind.words.startswith("a zip"):  # taken for a workbook
        return
    raise InputError(path, what, kind.words)


def _text(path: Path, data: bytes) -> str:
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(path, "a CSV", "a workbook: save it as CSV")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        ways = ["utf-16"]
    else:
        ways = ["utf-8-sig", "cp1252"]  # the second where a byte is none of the first
    for way in ways:
        try:
            return data.decode(way)
        except UnicodeDecodeError:
            continue
    raise InputError(path, "a CSV in UTF-8, UTF-16 or Windows-1252", "other bytes")


def _lines(
    path: Path, what: str, text: str, first: int, said: str | None, fits: Callable[[Sequence[str]], bool]
) -> Lines:
    """The rows, cut where the header fits; where it fits nowhere, as it has the most cells."""
    if said is not None:
        return Lines(path, what, text, first, said)
    ways, cells = [], {}
    for delimiter in _DELIMITERS:
        lines = Lines(path, what, text, first, delimiter)
        try:
            header = next((row for _, row in lines), [])
        except InputError:  # a quote that this delimiter puts amiss
            continue
        cells[delimiter] = len(header)
        if fits(header):
            ways.append(delimiter)
    if len(ways) > 1:
        raise InputError(path, "one mark between the cells", " and ".join(_NAMES.get(d, f"'{d}'") for d in ways))
    best = ways[0] if ways else max(cells, key=lambda d: cells[d], default=",")
    return Lines(path, what, text, first, best)
