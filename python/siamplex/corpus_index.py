"""The index of a corpus: which image shows which emotion of which subject."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from siamplex.durable import sha256, write_text
from siamplex.emotions import EMOTIONS, NAMES, NEUTRAL, code_of
from siamplex.errors import InputError
from siamplex.faces.corpus import is_synthetic
from siamplex.images import SUFFIXES, read_picture
from siamplex.progress import say, track
from siamplex.schema.csv_files import read_rows

COLUMNS = ("image", "path", "subject", "emotion", "synthetic", "sha256")
_NIMSTIM = re.compile(r"(\d{1,3})([FM])_([A-Z]{2})_([COX])", re.IGNORECASE)
_EXAMPLE = "a NimStim name such as 01F_AN_C.BMP"


@dataclass(frozen=True)
class Entry:
    """One image: its name, file, subject, emotion code, whether it is drawn, SHA-256 of its file."""

    image: str
    path: Path
    subject: str
    emotion: str
    synthetic: bool
    sha256: str


@dataclass(frozen=True)
class CorpusIndex:
    """Entries in a fixed order (their positions are the indices of the pair store)."""

    entries: tuple[Entry, ...]
    skipped: dict[str, int]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def synthetic(self) -> bool:
        """Whether any of the faces is drawn."""
        return any(entry.synthetic for entry in self.entries)

    @property
    def subjects(self) -> list[str]:
        """Subjects, sorted."""
        return sorted({entry.subject for entry in self.entries})

    def counts(self) -> dict[str, int]:
        """Images of each emotion."""
        found = Counter(entry.emotion for entry in self.entries)
        return {emotion: found[emotion] for emotion in sorted(EMOTIONS)}


def index_folder(folder: Path) -> CorpusIndex:
    """Index a folder of NimStim-named images (BMP, PNG, JPEG, any letter case, subfolders too).

    Neutral and calm faces are skipped and counted.  Raises InputError for a missing folder, a
    file of another name, an image that cannot be read, or the same name twice.
    """
    if not folder.is_dir():
        raise InputError(folder, "a folder of face images", "a file" if folder.exists() else "nothing there")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not (path.name == "contact_sheet.png" and is_synthetic(path.parent))
    )
    wrong = [path for path in files if not _NIMSTIM.fullmatch(path.stem)]
    if wrong:
        more = f" ({len(wrong)} such files)" if len(wrong) > 1 else ""
        raise InputError(wrong[0], _EXAMPLE, f"'{wrong[0].name}'{more}")
    rows = []
    for path in files:
        match = _NIMSTIM.fullmatch(path.stem)
        assert match
        number, sex, emotion, _ = (part.upper() for part in match.groups())
        rows.append((path, f"{int(number):02d}{sex}", emotion))
    return _collect(folder, rows)


def index_table(table: Path) -> CorpusIndex:
    """Index a CSV with columns path, subject, emotion; paths are relative to the CSV.

    Emotions are codes or names in any letter case.  Raises InputError.
    """
    rows = []
    spelled: dict[str, str] = {}
    for where, row in read_rows(table, ("path", "subject", "emotion")):
        emotion = code_of(row["emotion"])
        if emotion is None:
            raise InputError(where, f"an emotion ({', '.join(NAMES.values())})", f"'{row['emotion']}'")
        if not row["subject"].strip() or not row["path"].strip():
            raise InputError(where, "a path and a subject", "an empty one")
        subject = row["subject"].strip()
        other = spelled.setdefault(_plain(subject), subject)
        if other != subject:  # taken for two, one person could stand in two splits
            raise InputError(where, "one spelling of each subject", f"'{other}' and '{subject}'")
        rows.append((table.parent / row["path"].strip(), subject, emotion))
    return _collect(table, rows)


def _plain(subject: str) -> str:
    """A subject's name without what people vary: letter case, leading zeros, spaces."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]+", "", subject)).casefold()


def _collect(source: Path, rows: Iterable[tuple[Path, str, str]]) -> CorpusIndex:
    entries: list[Entry] = []
    skipped: Counter[str] = Counter()
    seen: dict[str, Path] = {}
    rows = list(rows)
    by_content: dict[str, tuple[Path, str, str]] = {}
    copies = 0
    for path, subject, emotion in track(rows, "index", len(rows)):
        if emotion in NEUTRAL:
            skipped[NEUTRAL[emotion]] += 1
            continue
        if emotion not in NAMES:
            raise InputError(path, f"an emotion code ({', '.join(sorted(NAMES))}, NE or CA)", f"'{emotion}'")
        read_picture(path)
        name = path.stem
        if name.lower() in seen:
            raise InputError(path, "each image once", f"'{name}' also at {seen[name.lower()]}")
        seen[name.lower()] = path
        digest = sha256(path)
        first = by_content.setdefault(digest, (path, subject, emotion))
        if first[1:] != (subject, emotion):
            raise InputError(
                path, "a picture of its own", f"the bytes of {first[0]} (subject {first[1]}, {first[2]}) once more"
            )
        copies += first[0] != path
        entries.append(Entry(name, path, subject, emotion, is_synthetic(path.parent), digest))
    if not entries:
        raise InputError(source, "images of the six emotions", "none")
    if copies:
        say(f"{source}: {copies} images are copies of others of the same subject and emotion; they are kept")
    _say_odd_numbers(source, {entry.subject for entry in entries})
    entries.sort(key=lambda entry: entry.image)
    return CorpusIndex(tuple(entries), dict(skipped))


def _say_odd_numbers(source: Path, subjects: set[str]) -> None:
    """NimStim numbers its actors throughout: 01F beside 01M is two people here, and likely one misspelt."""
    for number in sorted(s[:-1] for s in subjects if s[:-1].isdigit() and s.endswith("F") and f"{s[:-1]}M" in subjects):
        say(f"{source}: subjects {number}F and {number}M share a number; they are taken for two people")


def as_indexed(index: CorpusIndex) -> bool:
    """Whether every file is there with the bytes that were indexed."""
    return all(entry.path.is_file() and sha256(entry.path) == entry.sha256 for entry in index.entries)


def write_index(index: CorpusIndex, path: Path) -> None:
    """Write an index as CSV; image paths are relative to it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for e in index.entries:
        where = Path(os.path.relpath(e.path.resolve(), path.resolve().parent)).as_posix()
        writer.writerow([e.image, where, e.subject, e.emotion, int(e.synthetic), e.sha256])
    write_text(path, out.getvalue())


def read_index(path: Path) -> CorpusIndex:
    """Read what :func:`write_index` wrote.  Raises InputError."""
    entries = []
    for where, row in read_rows(path, COLUMNS):
        if row["emotion"] not in NAMES or row["synthetic"] not in ("0", "1"):
            raise InputError(where, "a line of a corpus index", str(list(row.values())))
        entries.append(
            Entry(
                row["image"],
                path.parent / row["path"],
                row["subject"],
                row["emotion"],
                row["synthetic"] == "1",
                row["sha256"],
            )
        )
    if not entries:
        raise InputError(path, "a corpus index with images", "none")
    return CorpusIndex(tuple(entries), {})
