"""The course of a run: which iterations were computed with which settings.

A course is a list of segments, one for each set of settings.  It is written into every snapshot's manifest and, when
training begins, into ``PREFIX_run.json``.  A snapshot under the prefix belongs to the run if its course agrees with the
run's; snapshots of other runs are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from siamplex.engine.training.origin import Settings, differences
from siamplex.errors import InputError
from siamplex.run.durable import discard, hash_bytes, write_text
from siamplex.schema.json_files import read_object

_FORMAT = 1
_KINDS = ("caffemodel", "solverstate", "caffemodel.h5", "solverstate.h5", "json", "gram.npz")
_WHAT = "the course of a training run (siamplex train)"


@dataclass(frozen=True)
class Segment:
    """Iterations from ``first`` up to ``last`` (None: the run's end), all computed with ``settings``.

    Empty settings mean that they are not known, as for a snapshot of real Caffe.  ``manifests`` says whether its
    snapshots have manifests; real Caffe's have none.
    """

    first: int
    last: int | None
    settings: Settings
    manifests: bool = True

    def as_json(self) -> dict[str, Any]:
        content = {"first": self.first, "last": self.last, "settings": self.settings}
        return content if self.manifests else {**content, "manifests": False}

    @classmethod
    def of(cls, content: Any) -> Segment:
        """From JSON; raises KeyError, TypeError or ValueError."""
        first, last, settings = content["first"], content["last"], content["settings"]
        if not isinstance(first, int) or not (last is None or isinstance(last, int)) or not isinstance(settings, dict):
            raise ValueError("no segment")
        return cls(first, last, {str(k): str(v) for k, v in settings.items()}, content.get("manifests") is not False)


@dataclass(frozen=True)
class Course:
    """Segments in order; each begins where the previous one ends, and the last is being computed."""

    segments: tuple[Segment, ...]

    @classmethod
    def fresh(cls, settings: Settings, manifests: bool = True) -> Course:
        """A run from its first iteration on."""
        return cls((Segment(0, None, settings, manifests),))

    @property
    def settings(self) -> Settings:
        """Those of the last segment."""
        return self.segments[-1].settings

    @property
    def digest(self) -> str:
        """A hash of all segments, without the end of the last one."""
        return hash_bytes(json.dumps([s.as_json() for s in self.up_to(None).segments], sort_keys=True).encode())

    def up_to(self, iteration: int | None) -> Course:
        """The same with the last segment ending at ``iteration``."""
        *before, last = self.segments
        return Course((*before, replace(last, last=iteration)))

    def going_on(self, iteration: int, settings: Settings, manifests: bool = True) -> Course:
        """The course of a run that continues from this run's snapshot at ``iteration``.

        It has one segment more where the settings differ, or where only one of the two writes manifests.
        """
        alike = self.settings and not differences(self.settings, settings)
        if alike and self.segments[-1].manifests == manifests:
            return self.up_to(None)
        before = self.up_to(iteration).segments
        if before[-1].first == iteration:  # nothing was computed in it
            before = before[:-1]
        return Course((*before, Segment(iteration, None, settings, manifests)))

    def has_bare(self, iteration: int) -> bool:
        """Whether a snapshot without a manifest, of this iteration, is the run's own: one by real Caffe."""
        return any(
            not s.manifests and s.first < max(iteration, 1) and (s.last is None or iteration <= s.last)
            for s in self.segments
        )

    def holds(self, other: Course) -> bool:
        """Whether ``other`` is the beginning of this course."""
        if len(other.segments) > len(self.segments):
            return False
        for number, (theirs, ours) in enumerate(zip(other.segments, self.segments, strict=False)):
            if theirs.first != ours.first or differences(theirs.settings, ours.settings):
                return False
            if number < len(other.segments) - 1 and theirs.last != ours.last:
                return False
        end, limit = other.segments[-1].last, self.segments[len(other.segments) - 1].last
        return limit is None or (end is not None and end <= limit)

    # --- on disk

    def as_json(self) -> list[dict[str, Any]]:
        return [segment.as_json() for segment in self.segments]

    @classmethod
    def of(cls, content: Any) -> Course:
        """From JSON; raises KeyError, TypeError or ValueError."""
        segments = tuple(Segment.of(one) for one in content)
        if not segments:
            raise ValueError("no segments")
        return cls(segments)

    def write(self, prefix: str) -> None:
        """Write ``PREFIX_run.json``."""
        content = {"format": _FORMAT, "segments": self.as_json()}
        write_text(path_of(prefix), json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, prefix: str | Path) -> Course | None:
        """The course in ``PREFIX_run.json``; None where there is no such file.  Raises InputError."""
        path = path_of(prefix)
        if not path.exists():
            return None
        content = read_object(path, _WHAT)
        try:
            if content["format"] != _FORMAT:
                raise ValueError("another format")
            return cls.of(content["segments"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(path, _WHAT, f"no {error}") from None


def path_of(prefix: str | Path) -> Path:
    """``PREFIX_run.json``."""
    return Path(f"{prefix}_run.json")


def standing(prefix: str | Path, endings: Sequence[str] = _KINDS) -> list[int]:
    """Iterations of which ``prefix`` has a snapshot file with one of the ``endings``, in rising order."""
    prefix = Path(prefix)
    kinds = "|".join(map(re.escape, endings))
    pattern = re.compile(re.escape(prefix.name) + rf"_iter_(\d+)\.(?:{kinds})")
    if not prefix.parent.is_dir():
        return []
    found = (pattern.fullmatch(file.name) for file in prefix.parent.iterdir())
    return sorted({int(match.group(1)) for match in found if match})


def remove(prefix: str | Path, iterations: Iterable[int], kinds: Sequence[str] = _KINDS) -> None:
    """Remove files of snapshots."""
    for iteration in iterations:
        for kind in kinds:
            discard(Path(f"{prefix}_iter_{iteration}.{kind}"))
