"""A corpus given as a CSV: its columns for path, subject and emotion, and the files its paths refer to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from siamplex.corpus.emotion_words import code_of
from siamplex.corpus.emotions import NAMES
from siamplex.errors import InputError
from siamplex.run.progress import say
from siamplex.schema.csv_files import plain, read_rows

COLUMNS = ("path", "subject", "emotion")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def _words(text: str) -> frozenset[str]:
    return frozenset(plain(word) for word in text.split())


# English, German, French, Spanish, Italian, Dutch, Portuguese; headings are compared without case, accents and blanks
ALIASES = {
    "path": _words(
        "file filename filepath fullpath image imagefile imagename imagepath img picture photo photograph stimulus "
        "pfad datei dateiname dateipfad bild bilddatei foto chemin fichier nomfichier nomdufichier cheminfichier "
        "ruta archivo fichero nombrearchivo imagen percorso nomefile immagine pad bestand bestandsnaam bestandspad "
        "afbeelding caminho arquivo ficheiro nomearquivo nomedoarquivo imagem"
    ),
    "subject": _words(
        "id subj subjectid subjid person personid participant participantid actor actorid model modelid identity "
        "individual poser versuchsperson proband schauspieler schauspielerin darsteller modell identität sujet "
        "personne acteur modèle identité sujeto persona modelo identidad participante soggetto attore modello identità "
        "partecipante persoon proefpersoon deelnemer sujeito pessoa ator"
    ),
    "emotion": _words(
        "expression facialexpression label emotionlabel category class affect ausdruck gesichtsausdruck mimik gefühl "
        "kategorie émotion étiquette catégorie emoción expresión etiqueta categoría emozione espressione etichetta "
        "categoria emotie uitdrukking gezichtsuitdrukking categorie emoção expressão rótulo"
    ),
}


@dataclass(frozen=True)
class TableRow:
    """``where`` names the line; the path as it is written, the subject, and the emotion's code."""

    where: str
    path: str
    subject: str
    emotion: str


def read_table(table: Path, tell: Callable[[str], None] = say) -> list[tuple[TableRow, Path]]:
    """The rows of a table of faces, each with its file.  Raises InputError, naming the line."""
    rows = []
    for where, row in read_rows(table, COLUMNS, aliases=ALIASES):
        emotion = code_of(row["emotion"])
        if emotion is None:
            raise InputError(where, f"an emotion ({', '.join(NAMES.values())})", f"'{row['emotion']}'")
        if not row["subject"] or not row["path"]:
            raise InputError(where, "a path and a subject", "an empty one")
        rows.append(TableRow(where, row["path"], row["subject"], emotion))
    return list(zip(rows, locate(table, rows, tell), strict=True))


def listed_files(table: Path) -> list[Path]:
    """The files that a table names; none where it cannot be read."""
    try:
        return [path for _, path in read_table(table, lambda text: None) if _exists(path)]
    except InputError:
        return []


def locate(table: Path, rows: Sequence[TableRow], tell: Callable[[str], None] = say) -> list[Path]:
    """The file of each row: relative to the table, with either kind of slash.

    Absolute paths of another machine (``C:\\data\\faces\\x.BMP`` here, a table that was copied) are looked for beside
    the table, from the same one of their folders on for all.  Raises InputError where that finds nothing, or more than
    one place.
    """
    base = table.parent
    paths = [_beside(base, row.path) for row in rows]
    absolute = [i for i, row in enumerate(rows) if _DRIVE.match(row.path) or row.path.startswith("/")]
    if not absolute or any(_exists(paths[i]) for i in absolute):
        return paths
    first = rows[absolute[0]]
    parts = [_parts(rows[i].path) for i in absolute]
    shared = 0
    while all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    fitting = [k for k in range(shared + 1) if all(_exists(base.joinpath(*p[k:])) for p in parts)]
    if not fitting:
        if not _DRIVE.match(first.path):
            return paths  # a missing file, as it is named
        raise InputError(first.where, "a path from the CSV on, such as faces/x.BMP", f"'{first.path}', not here")
    if len(fitting) > 1:
        found = " and ".join(str(base.joinpath(*parts[0][k:])) for k in fitting)
        raise InputError(first.where, "one file here", f"'{first.path}', which could be {found}")
    for i, p in zip(absolute, parts, strict=True):
        paths[i] = base.joinpath(*p[fitting[0] :])
    tell(f"{table}: {first.path} and the like are not here; {paths[absolute[0]]} and the like are taken")
    return paths


def _beside(base: Path, text: str) -> Path:
    path = base / text
    return path if "\\" not in text or _exists(path) else base / text.replace("\\", "/")


def _parts(text: str) -> tuple[str, ...]:
    """The folders and the name of an absolute path of either kind."""
    return (PureWindowsPath(text) if _DRIVE.match(text) else PurePosixPath(text)).parts[1:]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, a zero byte
        return False
