"""Finds the layout of a folder's files, and reads their names by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from siamplex.corpus.folder import NOT_AN_IMAGE, OTHER_NAME, Listing
from siamplex.corpus.layout import Labels, Layout, built_in
from siamplex.errors import InputError

UNFIT = 0.1  # share of images that may have other names
_NAMED = 3
LABEL, STRAY_LABEL = "label file", "label file without its image"
OTHER_FRAME, NO_LABEL = "frame before the peak", "sequence without a label"


@dataclass(frozen=True)
class Reading:
    """A picture that fits: its groups' values, subject and emotion (``aside``: why it is left out)."""

    path: Path
    groups: dict[str, str]
    subject: str
    emotion: str
    said: str
    aside: str = ""


@dataclass
class Fitted:
    """A folder read by one layout: pictures that fit, those that do not, label files with no picture."""

    layout: Layout
    readings: list[Reading] = field(default_factory=list)
    unfit: list[Path] = field(default_factory=list)
    labels: list[Path] = field(default_factory=list)
    stray: list[Path] = field(default_factory=list)

    @property
    def taken(self) -> list[Reading]:
        """Pictures to index."""
        return [r for r in self.readings if not r.aside]

    @property
    def images(self) -> int:
        """All pictures of the folder."""
        return len(self.readings) + len(self.unfit)

    def left_out(self, listing: Listing) -> dict[str, list[Path]]:
        """Everything that is not taken, by reason."""
        found: dict[str, list[Path]] = defaultdict(list)
        known = {*self.labels, *self.stray}
        for reason, paths in listing.left_out.items():
            found[reason] += [p for p in paths if reason != NOT_AN_IMAGE or p not in known]
        for reading in self.readings:
            if reading.aside:
                found[reading.aside].append(reading.path)
        found[OTHER_NAME] += self.unfit
        found[LABEL] += self.labels
        found[STRAY_LABEL] += self.stray
        return {reason: sorted(paths) for reason, paths in found.items() if paths}

    def words(self) -> str:
        """Which layout, and how many images fit."""
        return f"layout {self.layout.name} ({self.layout.title}): {len(self.readings):,} of {self.images:,} images fit"


def fit(layout: Layout, listing: Listing, folder: Path) -> Fitted:
    """Read a folder's pictures by one layout.  Raises InputError for a label file that says no emotion."""
    found = Fitted(layout)
    groups: list[tuple[Path, dict[str, str]]] = []
    for path in listing.pictures:
        one = layout.groups(path, folder)
        if one is None:
            found.unfit.append(path)
        else:
            groups.append((path, one))
    if layout.labels:
        _by_labels(found, groups, layout.labels, listing)
        return found
    for path, one in groups:
        said = one["emotion"]
        emotion = layout.emotion(said) or said.upper()
        found.readings.append(Reading(path, one, layout.who(one), emotion, said, layout.set_aside(one) or ""))
    return found


def _by_labels(found: Fitted, groups: Sequence[tuple[Path, dict[str, str]]], labels: Labels, listing: Listing) -> None:
    """The pictures of a layout with label files: the peak frames they name, and first frames."""
    if not groups:
        return
    layout = found.layout
    files = {p.name.casefold(): p for p in listing.left_out.get(NOT_AN_IMAGE, ()) if _ends(p, labels.ending)}
    said: dict[str, str] = {}
    sequences: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path, one in groups:
        label = files.pop(f"{path.stem}{labels.ending}".casefold(), None)
        sequence = layout.filled(labels.sequence, one)
        frame = one[labels.frame]
        sequences[sequence].append((int(frame) if frame.isdecimal() else 0, path))
        if label is not None:
            said[str(path)] = _number_in(label)
            found.labels.append(label)
            if layout.emotion(said[str(path)]) is None:
                raise InputError(label, "the number of an emotion", f"'{said[str(path)]}'")
    labelled = {name for name, frames in sequences.items() if any(str(p) in said for _, p in frames)}
    firsts = {str(min(sequences[name])[1]) for name in labelled} if labels.first else set()
    for path, one in groups:
        key = str(path)
        sequence = layout.filled(labels.sequence, one)
        aside, text, emotion = layout.set_aside(one) or "", "", ""
        if key in said:
            text, emotion = said[key], layout.emotion(said[key]) or ""
        elif key in firsts:
            text, emotion = "first frame", labels.first
        else:
            aside = aside or (OTHER_FRAME if sequence in labelled else NO_LABEL)
        found.readings.append(Reading(path, one, layout.who(one), emotion, text, aside))
    found.stray += files.values()


def _ends(path: Path, ending: str) -> bool:
    return path.name.casefold().endswith(ending.casefold())


def _number_in(path: Path) -> str:
    """The whole number that a label file holds, however it is written (CK+: 3.0000000e+00)."""
    try:
        text = path.read_bytes()[:256].decode("ascii", "replace").strip()
    except OSError as error:
        raise InputError(path, "a readable label file", error.strerror or str(error)) from None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value != int(value):
        raise InputError(path, "a label file with the number of an emotion", f"'{text:.40}'")
    return str(int(value))


def choose(listing: Listing, folder: Path) -> tuple[Fitted, list[Fitted]]:
    """The built-in layout that most images fit, and the others that fit some.

    A layout that nine names in ten fit is preferred to folders named after emotions.  Of several that fit equally many
    images, the first in :data:`~siamplex.corpus.layout.BUILT_IN` is taken.  A layout that would take no picture counts
    only if no other fits.  Raises InputError where nothing fits.
    """
    tried = [fit(layout, listing, folder) for layout in built_in()]
    fitting = [f for f in tried if f.readings]
    if not fitting:
        if not listing.pictures:
            return tried[0], []
        first, more = sorted(listing.pictures)[0], len(listing.pictures)
        names = ", ".join(f.layout.name for f in tried)
        such = f" ({more} such files)" if more > 1 else ""
        nimstim = tried[0].layout
        raise InputError(
            first,
            f"a {nimstim.title} name such as {nimstim.example}",
            f"'{first.name}'{such}; no layout reads it ({names}; --layout FILE.toml tells another)",
        )

    def by_name(f: Fitted) -> bool:
        return not f.layout.by_path and len(f.unfit) <= UNFIT * f.images

    best = max(fitting, key=lambda f: (bool(f.taken), by_name(f), len(f.readings)))
    return best, [f for f in fitting if f is not best]


def check(found: Fitted, folder: Path, others: Sequence[Fitted] = ()) -> None:
    """Refuse names that are nearly right, and a folder of which more than a tenth does not fit.  Raises InputError."""
    layout = found.layout
    misspelt = sorted(p for p in found.unfit if layout.nearly and layout.nearly.match(p.stem))
    if misspelt:
        more = f" ({len(misspelt)} such files)" if len(misspelt) > 1 else ""
        raise InputError(misspelt[0], f"a {layout.title} name such as {layout.example}", f"'{misspelt[0].name}'{more}")
    if len(found.unfit) > UNFIT * found.images:
        named = [p.relative_to(folder).as_posix() for p in sorted(found.unfit)]
        such = ", ".join(named[:_NAMED]) + (", ..." if len(named) > _NAMED else "")
        also = "".join(f"; {f.layout.name} fits {len(f.readings)}" for f in others)
        raise InputError(
            folder,
            f"{layout.expected}, for nine images in ten",
            f"{len(found.unfit)} of {found.images} that do not fit ({such}){also}",
        )
    if layout.labels and found.readings and not found.taken:
        raise InputError(folder, f"label files *{layout.labels.ending} of {layout.title}'s peak frames", "none")
