"""Lists a folder of faces: pictures, and every other file with the reason why it is not one."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from siamplex.corpus.images import SUFFIXES
from siamplex.corpus.synthetic import MARKER, is_synthetic
from siamplex.errors import InputError
from siamplex.schema.picture_headers import format_of, is_read

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})
_NOT_READ = frozenset(
    ".heic .heif .psd .xcf .svg .ico .exr .hdr .pfm .jxl .jxr .dds .tga .sgi .pcx .pdf "
    ".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .x3f .raw".split()
)

HIDDEN = "hidden file"
SYSTEM = "file of the system (Thumbs.db, desktop.ini)"
OWN = "siamplex's own (contact sheet, marker)"
NOT_AN_IMAGE = "not an image"
OTHER_FORMAT = "image of a format that is not read"
OTHER_NAME = "image whose name does not fit the naming"
SEEN = "link to a folder that is read already"
DANGLING = "link to nothing"
SPECIAL = "neither file nor folder"


@dataclass
class Listing:
    """``pictures`` of any name, ``left_out`` paths by reason, ``linked`` folders that were followed."""

    pictures: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    linked: list[Path] = field(default_factory=list)


def list_folder(folder: Path) -> Listing:
    """Look through a folder and its subfolders, linked ones too, each once.

    Raises InputError for a missing or unreadable folder.
    """
    if not folder.is_dir():
        raise InputError(folder, "a folder of face images", "a file" if folder.exists() else "nothing there")
    found = Listing()
    for path in _files(folder, found):
        reason = _reason(path)
        if reason is None:
            found.pictures.append(path)
        else:
            found.left_out[reason].append(path)
    found.pictures.sort()
    return found


def linked_folders(folder: Path) -> list[Path]:
    """Linked subfolders that :func:`list_folder` reads; none where the folder cannot be read."""
    found = Listing()
    try:
        for _ in _files(folder, found):
            pass
    except InputError:
        return []
    return found.linked


def _files(folder: Path, found: Listing) -> list[Path]:
    """Regular files below a folder.  Real folders come before linked ones, so that each is listed by its own path."""
    files: list[Path] = []
    real, links = [folder], list[Path]()
    seen: set[tuple[int, int]] = set()
    while real or links:
        here = real.pop() if real else links.pop(0)
        try:
            state = here.stat()
            entries = sorted(os.listdir(here))  # noqa: PTH208 - names, whatever they hold
        except OSError as error:
            raise InputError(here, "a readable folder", error.strerror or str(error)) from None
        if (state.st_dev, state.st_ino) in seen:
            found.left_out[SEEN].append(here)
            continue
        seen.add((state.st_dev, state.st_ino))
        if here.is_symlink() and here != folder:
            found.linked.append(here)
        folders: list[Path] = []
        for name in entries:
            path = here / name
            set_aside = HIDDEN if name.startswith(".") else SYSTEM if name.lower() in _SYSTEM_FOLDERS else None
            if os.path.isdir(path):  # noqa: PTH112 - False, and no exception, for what cannot be looked at
                if set_aside:
                    found.left_out[set_aside] += _below(path)
                else:
                    (links if path.is_symlink() else folders).append(path)
            elif set_aside:
                found.left_out[set_aside].append(path)
            elif os.path.isfile(path):  # noqa: PTH113
                files.append(path)
            else:
                found.left_out[DANGLING if path.is_symlink() else SPECIAL].append(path)
        real += reversed(folders)
    return files


def _below(folder: Path) -> list[Path]:
    """Files in a folder that is set aside; itself where it is a link or empty."""
    inside = [] if folder.is_symlink() else [Path(top) / name for top, _, names in os.walk(folder) for name in names]
    return inside or [folder]


def _reason(path: Path) -> str | None:
    """Why a file is no face; None where it is a picture."""
    name = path.name.lower()
    if name in _SYSTEM_FILES:
        return SYSTEM
    if name in ("contact_sheet.png", MARKER.lower()) and is_synthetic(path.parent):
        return OWN
    try:
        with path.open("rb") as handle:
            start = handle.read(64)
    except OSError:
        start = b""  # its suffix must do; a face that cannot be read is refused where it is read
    kind, suffix = format_of(start), path.suffix.lower()
    if suffix in _NOT_READ:
        return OTHER_FORMAT
    if suffix in SUFFIXES or is_read(kind):
        return None
    return OTHER_FORMAT if kind else NOT_AN_IMAGE
