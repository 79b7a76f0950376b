"""The index of a corpus: which image shows which emotion of which subject."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from siamplex.corpus.emotions import EMOTIONS, NAMES, NEUTRAL
from siamplex.corpus.folder import NIMSTIM, list_folder
from siamplex.corpus.images import read_picture
from siamplex.corpus.table import read_table
from siamplex.errors import InputError
from siamplex.faces.corpus import is_synthetic
from siamplex.run.durable import sha256, write_text
from siamplex.run.progress import say, track
from siamplex.schema.csv_files import read_rows

_TABLES = (".csv", ".tsv", ".txt")
COLUMNS = ("image", "path", "subject", "emotion", "synthetic", "sha256")


@dataclass(frozen=True)
class Entry:
    """One image: its name, file, subject, emotion code, whether it is drawn, SHA-256 of its file.

    The name is the file's without suffix; where two would have the same, with its folders.
    """

    image: str
    path: Path
    subject: str
    emotion: str
    synthetic: bool
    sha256: str


@dataclass(frozen=True)
class CorpusIndex:
    """Entries in a fixed order (their positions are the indices of the pair store), and what is not among them."""

    entries: tuple[Entry, ...]
    skipped: dict[str, int]  # faces of other emotions
    left_out: dict[str, list[Path]] = field(default_factory=dict)  # files that are no faces, by reason

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


@dataclass(frozen=True)
class _Face:
    """A picture to index; ``where`` is what an error names."""

    where: str
    path: Path
    subject: str
    emotion: str


def index_folder(folder: Path) -> CorpusIndex:
    """Index a folder of NimStim-named images: whatever OpenCV reads, any letter case, subfolders and linked ones too.

    Faces of other emotions are skipped and counted, other files left out with their reasons.  One id in several
    subfolders is one person.  Raises InputError for a missing folder, a face that cannot be read or whose name is
    misspelt, the same face twice in a folder.
    """
    return _collect(folder, *_faces_in_folder(folder))


def _faces_in_folder(folder: Path) -> tuple[list[_Face], dict[str, list[Path]]]:
    listing = list_folder(folder)
    faces, seen = [], dict[tuple[Path, str], Path]()
    for path in listing.pictures:
        match = NIMSTIM.fullmatch(path.stem)
        assert match
        other = seen.setdefault((path.parent, path.stem.lower()), path)
        if other != path:
            raise InputError(path, "each image once", f"'{path.stem}' also at {other}")
        number, sex, emotion, _ = (part.upper() for part in match.groups())
        faces.append(_Face(str(path), path, f"{int(number):02d}{sex}", emotion))
    return faces, {reason: sorted(paths) for reason, paths in listing.left_out.items() if paths}


def index_table(table: Path) -> CorpusIndex:
    """Index a CSV with columns path, subject, emotion, or headings that mean them; paths are relative to the CSV.

    Emotions are codes or names in any letter case.  Raises InputError, naming the line.
    """
    return _collect(table, _faces_in_table(table), {})


def _faces_in_table(table: Path) -> list[_Face]:
    faces, spelled, listed = [], dict[str, str](), dict[str, str]()
    for row, path in read_table(table):
        other = spelled.setdefault(plain_subject(row.subject), row.subject)
        if other != row.subject:  # taken for two, one person could stand in two splits
            raise InputError(row.where, "one spelling of each subject", f"'{other}' and '{row.subject}'")
        before = listed.setdefault(os.path.normpath(path), row.where)
        if before != row.where:
            raise InputError(row.where, "each image once", f"'{row.path}' as in {before}")
        faces.append(_Face(f"{row.where}: {path}", path, row.subject, row.emotion))
    return faces


def is_table(source: Path) -> bool:
    """Whether a corpus is told by a table, not by a folder."""
    return source.is_file() or (source.suffix.lower() in _TABLES and not source.is_dir())


def list_corpus(source: Path) -> CorpusIndex:
    """What a corpus holds by its names alone: no picture is opened, and no entry has a hash.

    Raises InputError where indexing would, but for what only the pictures' content shows.
    """
    faces, left_out = (_faces_in_table(source), {}) if is_table(source) else _faces_in_folder(source)
    skipped: Counter[str] = Counter()
    used = []
    for face in faces:
        other = _other_emotion(face)
        if other:
            skipped[other] += 1
            continue
        if not face.path.is_file():
            raise InputError(face.where, "a readable image", "nothing there")
        used.append(face)
    if not used:
        raise _no_faces(source, left_out)
    names = distinct_names([face.path for face in used], source if source.is_dir() else source.parent)
    entries = [
        Entry(name, face.path, face.subject, face.emotion, is_synthetic(face.path.parent), "")
        for face, name in zip(used, names, strict=True)
    ]
    return CorpusIndex(tuple(sorted(entries, key=lambda entry: entry.image)), dict(skipped), left_out)


def _other_emotion(face: _Face) -> str | None:
    """The name of an emotion that is passed over; None for one of the six.  Raises InputError for no emotion."""
    if face.emotion in NEUTRAL or face.emotion == "contempt":
        return NEUTRAL.get(face.emotion, face.emotion)
    if face.emotion not in NAMES:
        raise InputError(face.path, f"an emotion code ({', '.join(sorted(NAMES))}, NE or CA)", f"'{face.emotion}'")
    return None


def _no_faces(source: Path, left_out: dict[str, list[Path]]) -> InputError:
    why = "; ".join(f"{len(paths)}: {reason}" for reason, paths in sorted(left_out.items()))
    return InputError(source, "images of the six emotions", f"none ({why})" if why else "none")


def plain_subject(subject: str) -> str:
    """A subject's name without what people and programs vary: letter case, leading zeros, spaces."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]+", "", subject)).casefold()


def _collect(source: Path, faces: Sequence[_Face], left_out: dict[str, list[Path]]) -> CorpusIndex:
    used: list[tuple[_Face, str]] = []
    skipped: Counter[str] = Counter()
    by_content: dict[str, _Face] = {}
    copies = 0
    for face in track(faces, "index", len(faces)):
        path, emotion = face.path, face.emotion
        other = _other_emotion(face)
        if other:
            skipped[other] += 1
            continue
        try:
            str(path).encode()
        except UnicodeEncodeError:  # the index could not name it
            raise InputError(path, "a file name in UTF-8", "other bytes") from None
        try:
            read_picture(path)
        except InputError as error:
            raise InputError(face.where, error.expected, error.found) from None
        digest = sha256(path)
        first = by_content.setdefault(digest, face)
        if (first.subject, first.emotion) != (face.subject, emotion):
            raise InputError(
                face.where,
                "a picture of its own",
                f"the bytes of {first.path} (subject {first.subject}, {first.emotion}) once more",
            )
        copies += first is not face
        used.append((face, digest))
    if not used:
        raise _no_faces(source, left_out)
    if copies:
        say(f"{source}: {copies} images are copies of others of the same subject and emotion; they are kept")
    base = source if source.is_dir() else source.parent
    names = distinct_names([face.path for face, _ in used], base)
    _say_shared_names(source, used, names)
    _say_odd_numbers(source, {face.subject for face, _ in used})
    entries = [
        Entry(name, face.path, face.subject, face.emotion, is_synthetic(face.path.parent), digest)
        for (face, digest), name in zip(used, names, strict=True)
    ]
    entries.sort(key=lambda entry: entry.image)
    return CorpusIndex(tuple(entries), dict(skipped), left_out)


def distinct_names(paths: Sequence[Path], base: Path) -> list[str]:
    """A name for each file, no two alike.

    The name of the file without its suffix where no other has it; else with its folders from ``base`` (or, where files
    lie elsewhere, from the folder that holds them all); with its suffix too where that is still another's.
    """
    whole = [Path(os.path.normpath(path.absolute())) for path in paths]
    top = Path(os.path.normpath(base.absolute()))
    if not all(path.is_relative_to(top) for path in whole):
        top = Path(os.path.commonpath([path.parent for path in whole]))
    below = [path.relative_to(top) for path in whole]
    names = [path.stem for path in below]
    for longer in (lambda path: path.with_suffix("").as_posix(), lambda path: path.as_posix()):
        count = Counter(name.lower() for name in names)
        names = [longer(path) if count[name.lower()] > 1 else name for path, name in zip(below, names, strict=True)]
    return names


def _say_shared_names(source: Path, used: Sequence[tuple[_Face, str]], names: Sequence[str]) -> None:
    """An id in two folders is taken for one person: should they be two, neither stands in two splits."""
    if not source.is_dir():
        return
    shared = sorted({face.subject for (face, _), name in zip(used, names, strict=True) if name != face.path.stem})
    if shared:
        more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
        say(f"{source}: {', '.join(shared[:3])}{more} have files of one name in several folders; each id is taken for "
            "one person (a CSV path,subject,emotion can tell them apart)")  # fmt: skip


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
        if row["emotion"] not in NAMES or row["synthetic"] not in ("0", "1") or not all(map(row.get, COLUMNS)):
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
