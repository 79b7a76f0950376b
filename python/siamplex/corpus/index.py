"""The index of a corpus: the emotion and subject of each image."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from siamplex.corpus.crop import SMALLEST, Crop
from siamplex.corpus.duplicates import SIDE, near_duplicates, reduced
from siamplex.corpus.emotions import EMOTIONS, NAMES, in_order, named
from siamplex.corpus.fitting import Fitted, check, choose, fit
from siamplex.corpus.folder import list_folder
from siamplex.corpus.images import Picture, read_picture
from siamplex.corpus.layout import Layout
from siamplex.corpus.synthetic import is_synthetic
from siamplex.corpus.table import read_table
from siamplex.errors import InputError
from siamplex.run.durable import sha256, write_text
from siamplex.run.progress import say, track
from siamplex.schema.csv_files import read_rows

_TABLES = (".csv", ".tsv", ".txt")
_NAMED = 5  # near-duplicates named of each kind
COLUMNS = ("image", "path", "subject", "emotion", "synthetic", "sha256")
CROP = "crop"  # a column of indexes whose pictures are cropped


@dataclass(frozen=True)
class Entry:
    """One image: its name, file, subject, emotion code, whether it is drawn, SHA-256 of its file, part that counts.

    The name is the file's without suffix; where two would have the same, with its folders.
    """

    image: str
    path: Path
    subject: str
    emotion: str
    synthetic: bool
    sha256: str
    crop: Crop | None = None

    def picture(self) -> Picture:
        """The image, cropped: (H, W, 3) BGR uint8.  Raises InputError."""
        return framed(read_picture(self.path), self.crop, self.path)


def framed(picture: Picture, crop: Crop | None, where: str | Path) -> Picture:
    """A picture (H, W, 3) cropped.  Raises InputError, naming ``where``, for one that is too small."""
    if crop is None:
        return picture
    try:
        return crop.cut(picture)
    except ValueError as error:
        raise InputError(where, f"{SMALLEST} pixels each way at least within the crop {crop}", str(error)) from None


@dataclass(frozen=True)
class CorpusIndex:
    """Entries in a fixed order (their positions are the indices of the pair store), and what is not among them."""

    entries: tuple[Entry, ...]
    skipped: dict[str, int]  # faces of other emotions
    left_out: dict[str, list[Path]] = field(default_factory=dict)  # files that are no faces, by reason
    layout: str = ""  # of a folder: which layout was read, and how many images fit it

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
        """Images of each emotion that is there, in alphabetical order of codes."""
        return dict(sorted(Counter(entry.emotion for entry in self.entries).items()))

    @property
    def emotions(self) -> tuple[str, ...]:
        """Emotions shown, in the order of figures."""
        return in_order({entry.emotion for entry in self.entries})


@dataclass(frozen=True)
class _Face:
    """A picture to index; ``where`` is what an error names."""

    where: str
    path: Path
    subject: str
    emotion: str


def index_folder(
    folder: Path,
    layout: Layout | None = None,
    emotions: Collection[str] = EMOTIONS,
    crop: Crop | None = None,
    allow_near: bool = False,
) -> CorpusIndex:
    """Index a folder of images named by a ``layout`` (None: the built-in one that fits), of some ``emotions``.

    Whatever OpenCV reads, any letter case, subfolders and linked ones too.  Faces of other emotions are skipped and
    counted, other files left out with their reasons.  One id in several subfolders is one person.  Raises InputError
    for a missing folder, a face that cannot be read or whose name is misspelt, the same face twice in a folder, where
    more than a tenth of the images do not fit the layout, and (unless ``allow_near``) for near-duplicates of one
    subject with two emotions.
    """
    found, left_out = fitted(folder, layout)
    return _collect(folder, _faces_of(found), left_out, emotions, found, crop, allow_near)


def fitted(folder: Path, layout: Layout | None = None, strict: bool = True) -> tuple[Fitted, dict[str, list[Path]]]:
    """A folder read by a layout, and what is not taken by reason; ``strict`` refuses what :func:`check` refuses."""
    listing = list_folder(folder)
    found, others = (fit(layout, listing, folder), []) if layout else choose(listing, folder)
    if strict:
        check(found, folder, others)
    return found, found.left_out(listing)


def _faces_of(found: Fitted) -> list[_Face]:
    faces, seen = [], dict[tuple[Path, str], Path]()
    spelled: dict[str, str] = {}
    for reading in found.taken:
        path = reading.path
        if not found.layout.by_path:
            other = seen.setdefault((path.parent, path.stem.lower()), path)
            if other != path:
                raise InputError(path, "each image once", f"'{path.stem}' also at {other}")
        before = spelled.setdefault(plain_subject(reading.subject), reading.subject)
        if before != reading.subject:  # taken for two, one person could stand in two splits
            raise InputError(path, "one spelling of each subject", f"'{before}' and '{reading.subject}'")
        faces.append(_Face(str(path), path, reading.subject, reading.emotion))
    return faces


def index_table(
    table: Path, emotions: Collection[str] = EMOTIONS, crop: Crop | None = None, allow_near: bool = False
) -> CorpusIndex:
    """Index a CSV with columns path, subject, emotion, or headings that mean them; paths are relative to the CSV.

    Emotions are codes or names in any letter case.  Raises InputError, naming the line.
    """
    return _collect(table, _faces_in_table(table), {}, emotions, None, crop, allow_near)


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
    """Whether a corpus is given as a table and not as a folder."""
    return source.is_file() or (source.suffix.lower() in _TABLES and not source.is_dir())


def list_corpus(source: Path, layout: Layout | None = None, emotions: Collection[str] = EMOTIONS) -> CorpusIndex:
    """The content of a corpus by its names alone: no picture is opened, and no entry has a hash.

    Raises InputError where indexing would, except for faults that only the pictures' content shows.
    """
    found, left_out = (None, dict[str, list[Path]]()) if is_table(source) else fitted(source, layout)
    faces = _faces_of(found) if found else _faces_in_table(source)
    skipped: Counter[str] = Counter()
    used = []
    for face in faces:
        other = _other_emotion(face, emotions)
        if other:
            skipped[other] += 1
            continue
        if not face.path.is_file():
            raise InputError(face.where, "a readable image", "nothing there")
        used.append(face)
    if not used:
        raise _no_faces(source, left_out, emotions)
    names = distinct_names([face.path for face in used], source if source.is_dir() else source.parent)
    entries = [
        Entry(name, face.path, face.subject, face.emotion, is_synthetic(face.path.parent), "")
        for face, name in zip(used, names, strict=True)
    ]
    return CorpusIndex(tuple(sorted(entries, key=lambda entry: entry.image)), dict(skipped), left_out)


def _other_emotion(face: _Face, wanted: Collection[str]) -> str | None:
    """The name of an emotion that is passed over; None for a ``wanted`` one.  Raises InputError for no emotion."""
    if face.emotion not in NAMES:
        raise InputError(face.path, f"an emotion code ({', '.join(sorted(NAMES))})", f"'{face.emotion}'")
    return None if face.emotion in wanted else NAMES[face.emotion]


def check_wanted(index: CorpusIndex, wanted: Collection[str] | None, source: Path) -> None:
    """Refuse an index without an emotion that was asked for.  Raises InputError."""
    missing = [e for e in in_order(wanted or ()) if e not in index.emotions]
    if missing:
        there = ", ".join(NAMES[e] for e in index.emotions)
        raise InputError(source, f"images of {NAMES[missing[0]]} (--emotions)", f"none, but of {there}")


def _no_faces(source: Path, left_out: dict[str, list[Path]], emotions: Collection[str]) -> InputError:
    why = "; ".join(f"{len(paths)}: {reason}" for reason, paths in sorted(left_out.items()))
    return InputError(source, f"images of {named(emotions)}", f"none ({why})" if why else "none")


def plain_subject(subject: str) -> str:
    """A subject's name without what people and programs vary: letter case, leading zeros, spaces."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]+", "", subject)).casefold()


def _collect(
    source: Path,
    faces: Sequence[_Face],
    left_out: dict[str, list[Path]],
    emotions: Collection[str],
    found: Fitted | None = None,
    crop: Crop | None = None,
    allow_near: bool = False,
) -> CorpusIndex:
    used: list[tuple[_Face, str]] = []
    skipped: Counter[str] = Counter()
    by_content: dict[str, _Face] = {}
    greys: list[Picture] = []
    copies = 0
    for face in track(faces, "index", len(faces)):
        path = face.path
        other = _other_emotion(face, emotions)
        if other:
            skipped[other] += 1
            continue
        try:
            str(path).encode()
        except UnicodeEncodeError:  # the index could not name it
            raise InputError(path, "a file name in UTF-8", "other bytes") from None
        try:
            picture = read_picture(path)
        except InputError as error:
            raise InputError(face.where, error.expected, error.found) from None
        greys.append(reduced(framed(picture, crop, face.where)))
        digest = sha256(path)
        first = by_content.setdefault(digest, face)
        if (first.subject, first.emotion) != (face.subject, face.emotion):
            raise InputError(
                face.where,
                "a picture of its own",
                f"the bytes of {first.path} (subject {first.subject}, {first.emotion}) once more",
            )
        copies += first is not face
        used.append((face, digest))
    if not used:
        raise _no_faces(source, left_out, emotions)
    if copies:
        say(f"{source}: {copies} images are copies of others of the same subject and emotion; they are kept")
    _check_near(source, used, np.array(greys, np.uint8).reshape(-1, SIDE, SIDE), allow_near)
    base = source if source.is_dir() else source.parent
    names = distinct_names([face.path for face, _ in used], base)
    if found and not found.layout.by_path:
        _say_shared_names(source, used, names)
    subjects = {face.subject for face, _ in used}
    if len(subjects) == len(used) > 2:
        say(f"{source}: each of {len(used):,} images is of another subject: if some are the same person, a split by "
            "subject does not keep them apart")  # fmt: skip
    _say_odd_numbers(source, subjects)
    entries = [
        Entry(name, face.path, face.subject, face.emotion, is_synthetic(face.path.parent), digest, crop)
        for (face, digest), name in zip(used, names, strict=True)
    ]
    entries.sort(key=lambda entry: entry.image)
    return CorpusIndex(tuple(entries), dict(skipped), left_out, found.words() if found else "")


def _check_near(source: Path, used: Sequence[tuple[_Face, str]], greys: Picture, allow: bool) -> None:
    """Say which pictures are near-duplicates of others.

    Raises InputError for those of one subject with two emotions, unless they are to be allowed.
    """
    near = near_duplicates(greys)
    couples = [(used[i], used[j]) for i, j in near.couples]
    apart = [(a, b) for (a, one), (b, other) in couples if one != other]
    labels = [(a, b) for a, b in apart if a.subject == b.subject and a.emotion != b.emotion]
    people = [(a, b) for a, b in apart if a.subject != b.subject]
    if labels and not allow:
        a, b = labels[0]
        more = f"; {len(labels)} such couples" if len(labels) > 1 else ""
        raise InputError(
            b.where,
            f"a picture of its own for subject {b.subject} and {NAMES[b.emotion]} (--allow-near keeps it)",
            f"one that is {a.path} ({NAMES[a.emotion]}) but for its encoding: one of the two labels is wrong{more}",
        )
    for what, some in (
        ("one subject with two emotions", labels),
        ("two subjects, who are one person in it", people),
        ("one subject and emotion", [c for c in apart if c not in labels and c not in people]),
    ):
        if some:
            named = "; ".join(f"{a.path.name} and {b.path.name}" for a, b in some[:_NAMED])
            say(f"{source}: {len(some)} near-duplicates of {what}: {named}{'; ...' if len(some) > _NAMED else ''}")
    if not near.whole:
        say(f"{source}: so many pictures look alike that not all could be compared for near-duplicates")


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
    """Warn that an id in two folders counts as one person; if they are two, both are in the same split."""
    shared = sorted({face.subject for (face, _), name in zip(used, names, strict=True) if name != face.path.stem})
    if shared:
        more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
        say(f"{source}: {', '.join(shared[:3])}{more} have files of one name in several folders; each id is taken for "
            "one person (a CSV path,subject,emotion can tell them apart)")  # fmt: skip


def _say_odd_numbers(source: Path, subjects: set[str]) -> None:
    """Warn of 01F beside 01M: they count as two people, but NimStim uses a number once, so one is likely misspelt."""
    for number in sorted(s[:-1] for s in subjects if s[:-1].isdigit() and s.endswith("F") and f"{s[:-1]}M" in subjects):
        say(f"{source}: subjects {number}F and {number}M share a number; they are taken for two people")


def as_indexed(index: CorpusIndex) -> bool:
    """Whether every file is there with the bytes that were indexed."""
    return all(entry.path.is_file() and sha256(entry.path) == entry.sha256 for entry in index.entries)


def write_index(index: CorpusIndex, path: Path) -> None:
    """Write an index as CSV; image paths are relative to it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    cropped = any(e.crop for e in index.entries)
    writer.writerow([*COLUMNS, CROP] if cropped else COLUMNS)
    for e in index.entries:
        where = Path(os.path.relpath(e.path.resolve(), path.resolve().parent)).as_posix()
        row = [e.image, where, e.subject, e.emotion, int(e.synthetic), e.sha256]
        writer.writerow([*row, e.crop or ""] if cropped else row)
    write_text(path, out.getvalue())


def read_index(path: Path) -> CorpusIndex:
    """Read what :func:`write_index` wrote.  Raises InputError."""
    entries = []
    for where, row in read_rows(path, COLUMNS):
        if row["emotion"] not in NAMES or row["synthetic"] not in ("0", "1") or not all(map(row.get, COLUMNS)):
            raise InputError(where, "a line of a corpus index", str(list(row.values())))
        try:
            crop = Crop.parse(row[CROP]) if row.get(CROP) else None
        except ValueError as error:
            raise InputError(where, "a crop in shares", str(error)) from None
        entries.append(
            Entry(
                row["image"],
                path.parent / row["path"],
                row["subject"],
                row["emotion"],
                row["synthetic"] == "1",
                row["sha256"],
                crop,
            )
        )
    if not entries:
        raise InputError(path, "a corpus index with images", "none")
    return CorpusIndex(tuple(entries), {})
