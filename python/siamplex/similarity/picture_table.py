"""Tables of people's judgements of single pictures: an answer a row (long), or a picture a row (wide)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from siamplex.corpus.emotion_words import code_of
from siamplex.corpus.emotions import EMOTIONS, NAMES
from siamplex.corpus.table import ALIASES
from siamplex.errors import InputError
from siamplex.schema.csv_files import Lines, Rows, plain, read_lines

WHAT = "a matrix as CSV, or a table of pictures"
_ROUNDING = 0.03  # of a row's sum: six shares with two digits
OTHER = "other"  # an answer that names no emotion

Indices = npt.NDArray[np.int64]
Amounts = npt.NDArray[np.float64]


def _words(text: str) -> frozenset[str]:
    return frozenset(plain(word) for word in text.split())


_IMAGE = _words("image pic") | ALIASES["path"]
_RESPONSE = _words(
    "response responses answer choice chosen chosenemotion judgement judgment judgedemotion perceivedemotion "
    "antwort urteil réponse choix jugement respuesta elección juicio risposta scelta giudizio antwoord keuze oordeel "
    "resposta escolha"
)
# not 'subject': in a table of faces that is who is shown
_RATER = _words(
    "rater raterid judge judgeid observer observerid respondent respondentid viewer perceiver participant "
    "participantid beurteiler beurteilerin versuchsperson teilnehmer teilnehmerin juge participante valutatore giudice "
    "partecipante beoordelaar deelnemer avaliador"
)
_AMOUNT = _words("count counts n freq frequency share proportion percent percentage anzahl häufigkeit anteil")
_OTHERS = _words("other none noneoftheabove noneofthese somethingelse unsure dontknow idontknow andere keine autre")
_MISSING = frozenset(("", "na", "nan", "null"))  # what programs write where no answer was given


@dataclass(frozen=True)
class PictureTable:
    """The E responses of a table of judged pictures.

    ``pictures`` are named as in the table, each with the ``lines`` it stands on first; ``answers`` are codes of
    emotions, and ``other``.  ``picture``, ``answer``, ``rater`` (E,) int64 are places in ``pictures``, ``answers``,
    ``raters`` (no raters: all 0); ``amount`` (E,) float64, not negative, says how much of that response.
    ``form`` is ``long`` or ``wide``, ``values`` what the amounts are: answers, shares, counts or ratings.
    """

    path: Path
    form: str
    values: str
    pictures: tuple[str, ...]
    lines: tuple[str, ...]
    answers: tuple[str, ...]
    raters: tuple[str, ...]
    picture: Indices
    answer: Indices
    rater: Indices
    amount: Amounts
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Columns:
    """The columns of a header: picture, response, rater, each emotion, and other headings by name."""

    image: int | None
    response: int | None
    rater: int | None
    emotions: dict[int, str]
    others: list[str]


def is_picture_table(path: Path) -> bool:
    """Whether a CSV holds judgements of pictures, not a square matrix of items.

    A matrix has its columns' names at its rows; a table has a column of pictures and a column ``response`` or two
    emotions.  Raises InputError if it is neither, or could be both.
    """
    lines = read_lines(path, WHAT)
    rows = iter(lines)
    header = next(rows, (0, []))[1]
    names = {code_of(cell) or cell for cell in header[1:] if cell}
    found = _columns(path, header)
    first = found.image or 0
    heads = [code_of(row[first]) or row[first] for _, row in rows if first < len(row)]
    square = bool(heads) and set(heads) == names
    if found.image is not None and found.response is not None:
        return True
    if found.image is not None and len(found.emotions) > 1 and not square:
        shared = [head for head in heads if head in names]
        if not shared:
            return True
        if header[first]:
            raise InputError(
                path, "a matrix with a row for each column, or pictures in the first column",
                f"'{shared[0]}' in the column '{header[first]}' and at the head of another, but not so for all (--kind "
                "pictures says that they are pictures)",
            )  # fmt: skip
    if not heads or square or names & set(heads):
        return False
    raise InputError(
        path,
        "a matrix, its rows named as its columns, or a table with the columns image and response, or image and "
        "emotions",
        f"the columns '{', '.join(filter(None, header)):.120}' and rows such as '{heads[0]:.60}'",
    )


def read_picture_table(path: Path) -> PictureTable:
    """Read a long table (columns image, response, perhaps rater) or a wide one (image, perhaps rater, emotions).

    Emotions are codes or words in any letter case.  A long table has a row for each answer; empty ones and NA are
    counted and left out.  A wide one has shares, counts or mean ratings, a row for each picture (and rater).
    Raises InputError, naming the line.
    """
    lines = read_lines(path, WHAT)
    header = next((cells for _, cells in lines), [])
    while header and not header[-1]:
        header.pop()
    found = _columns(path, header)
    if found.image is None:
        raise InputError(path, "a column image", f"none in '{', '.join(header):.120}'")
    if found.response is not None and len(found.emotions) > 1:
        raise InputError(path, "a column response or columns of emotions", f"both in '{', '.join(header):.120}'")
    notes = [f"columns not read: {', '.join(found.others)}"] if found.others else []
    if found.response is not None:
        return _long(path, lines, header, found, notes)
    if len(found.emotions) < 2:
        raise InputError(
            path, "a column response, or columns of two emotions or more", f"'{', '.join(header):.120}'"
        )  # fmt: skip
    return _wide(path, lines, header, found, notes)


def _columns(path: Path, header: Sequence[str]) -> _Columns:
    """The meaning of each column of a header.  Raises InputError where two are the same."""
    keys = [plain(cell) for cell in header]
    taken: dict[str, int] = {}
    for name, words in (("image", _IMAGE), ("response", _RESPONSE), ("rater", _RATER)):
        places = [i for i, key in enumerate(keys) if key == name] or [i for i, key in enumerate(keys) if key in words]
        if len(places) > 1:
            found = f"'{header[places[0]]}' and '{header[places[1]]}'"
            raise InputError(path, f"one column {name}", found)
        if places:
            taken[name] = places[0]
    emotions: dict[int, str] = {}
    for at, cell in enumerate(header):
        code = code_of(cell) if at not in taken.values() else None
        if code is None:
            continue
        before = next((i for i, known in emotions.items() if known == code), None)
        if before is not None:
            raise InputError(path, "one column for each emotion", f"'{header[before]}' and '{cell}'")
        emotions[at] = code
    if "image" not in taken and header and not header[0] and len(emotions) > 1:
        taken["image"] = 0  # as R and pandas leave the names of rows without a heading
    known = {*taken.values(), *emotions}
    others = [cell for at, cell in enumerate(header) if at not in known and cell]
    if "response" in taken:
        amounts = [name for name in others if plain(name) in _AMOUNT]
        if amounts:
            raise InputError(path, "a row for each answer", f"a column '{amounts[0]}' beside the response")
        others = [header[at] for at in emotions if len(emotions) == 1] + others
    return _Columns(taken.get("image"), taken.get("response"), taken.get("rater"), emotions, others)


class _Places:
    """Texts numbered in the order they come."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.of = {text: i for i, text in enumerate(texts)}

    def __getitem__(self, text: str) -> int:
        return self.of.setdefault(text, len(self.of))


def _long(path: Path, lines: Lines, header: Sequence[str], found: _Columns, notes: list[str]) -> PictureTable:
    kept = {"image": found.image, "response": found.response, "rater": found.rater}
    names = {at: name for name, at in kept.items() if at is not None}
    pictures, answers, raters = _Places(), _Places(), _Places()
    first: list[str] = []
    entries: list[tuple[int, int, int]] = []
    missing = 0
    codes: dict[str, str | None] = {}  # a few words, on many lines
    for where, row in Rows(lines, names, header):
        _check_named(where, row)
        word = row["response"]
        if word not in codes:
            codes[word] = (
                "" if plain(word) in _MISSING else code_of(word) or (OTHER if plain(word) in _OTHERS else None)
            )
        code = codes[word]
        if code is None:
            raise InputError(where, f"an emotion ({', '.join(NAMES.values())}) or other",
                             f"'{word:.60}'")  # fmt: skip
        if not code:
            missing += 1
            continue
        picture = pictures[row["image"]]
        if picture == len(first):
            first.append(where)
        entries.append((picture, answers[code], raters[row["rater"]] if "rater" in row else 0))
    if missing:
        notes = [*notes, f"{missing} rows without an answer left out"]
    table = np.array(entries, np.int64).reshape(-1, 3)
    return _made(path, "long", "answers", pictures, first, answers, raters, table, np.ones(len(table)), notes)


def _wide(path: Path, lines: Lines, header: Sequence[str], found: _Columns, notes: list[str]) -> PictureTable:
    kept = {"image": found.image, "rater": found.rater}
    columns = {**found.emotions, **{at: name for name, at in kept.items() if at is not None}}
    emotions = list(found.emotions.values())
    pictures, raters = _Places(), _Places()
    first: list[str] = []
    rows, entries = [], []
    seen: dict[tuple[int, int], str] = {}
    table = Rows(lines, columns, header)
    for where, row in table:
        _check_named(where, row)
        try:
            values = [table.number(row[e]) for e in emotions]
        except ValueError as error:
            raise InputError(where, f"numbers for {', '.join(emotions)}", str(error)) from None
        if not all(0 <= v < 1e300 for v in values) or not any(values):
            expected = "shares, counts or ratings, none negative and not all zero"
            raise InputError(where, expected, ", ".join(row[e] for e in emotions))
        key = pictures[row["image"]], raters[row["rater"]] if "rater" in row else 0
        before = seen.setdefault(key, where)
        if before != where:
            once = "each picture once for each rater" if "rater" in row else "each picture once, or a column rater"
            raise InputError(where, once, f"'{row['image']:.60}' as in {before}")
        if key[0] == len(first):
            first.append(where)
        rows.append(values)
        entries.append(key)
    amounts = np.array(rows, np.float64).reshape(-1, len(emotions))
    which = np.repeat(np.array(entries, np.int64).reshape(-1, 2), len(emotions), axis=0)
    answer = np.tile(np.arange(len(emotions)), len(amounts))
    lacking = [NAMES[e] for e in EMOTIONS if e not in emotions]
    if lacking:
        notes = [*notes, f"no column for {', '.join(lacking)}"]
    placed = np.stack([which[:, 0], answer, which[:, 1]], axis=1)
    return _made(path, "wide", _kind_of(amounts), pictures, first, _Places(emotions), raters, placed, amounts.ravel(),
                 notes)  # fmt: skip


def _check_named(where: str, row: dict[str, str]) -> None:
    for name in ("image", "rater"):
        if name in row and not row[name]:
            raise InputError(where, "a picture and a rater" if "rater" in row else "a picture", f"no {name}")


def _kind_of(amounts: Amounts) -> str:
    """The kind of values in a wide table, recognised by the rows' sums."""
    sums = amounts.sum(axis=1)
    if any((np.abs(sums - whole) <= _ROUNDING * whole).all() for whole in (1, 100)):
        return "shares"
    return "counts" if (amounts == np.round(amounts)).all() else "ratings"


def _made(
    path: Path, form: str, values: str, pictures: _Places, lines: Sequence[str], answers: _Places, raters: _Places,
    table: Indices, amount: Amounts, notes: Sequence[str],
) -> PictureTable:  # fmt: skip
    if not len(table):
        raise InputError(path, "judgements of pictures", "none")
    return PictureTable(
        path, form, values, tuple(pictures.of), tuple(lines), tuple(answers.of), tuple(raters.of), table[:, 0],
        table[:, 1], table[:, 2], amount, tuple(notes),
    )  # fmt: skip
