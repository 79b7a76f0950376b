"""Whether a snapshot prefix is free for a run, so that no file of another run is overwritten or removed unasked."""

from __future__ import annotations

from pathlib import Path

from siamplex.engine.training import snapshot as snapshots
from siamplex.engine.training.course import Course, standing
from siamplex.engine.training.origin import differences, in_words
from siamplex.engine.training.snapshot import Manifest, SnapshotPaths
from siamplex.errors import InputError, UsageError

# how to treat existing snapshots: refuse to run, remove them, or overwrite them one by one as Caffe does
REFUSE, REMOVE, AS_CAFFE = "refuse", "remove", "as caffe"

_UNKNOWN = "what it was computed with is not known"


def check_free(prefix: str, course: Course, start: int, goes_on: bool) -> None:
    """Refuse a run of ``course`` whose snapshots after iteration ``start`` would overwrite those of another run.

    ``goes_on`` says that it resumes or begins from a snapshot; otherwise its own earlier snapshots are refused too.
    Raises UsageError.
    """
    there = standing(prefix)
    for iteration in reversed(there):
        paths = SnapshotPaths.of(prefix, iteration)
        if snapshots.belongs(paths, course) or _left_half_written(prefix, paths, course):
            continue
        if goes_on and iteration <= start and _precedes(paths, start):
            continue
        raise UsageError(
            f"{prefix}: expected no snapshots of another run, found {paths.caffemodel.name} "
            f"({_how_it_differs(paths, course)}): {_offer(prefix)}"
        )
    whole = snapshots.latest_whole(prefix, course)
    if whole and not goes_on:
        raise UsageError(
            f"{prefix}: expected no snapshots of this run yet, found {whole.caffemodel.name}: --resume goes on from "
            "there, --overwrite (make: OVERWRITE=1) begins anew"
        )


def _left_half_written(prefix: str, paths: SnapshotPaths, course: Course) -> bool:
    """Whether a snapshot without a manifest was left by a killed process of the same run."""
    if paths.manifest.exists():
        return False
    known = Course.read(prefix)
    return known is not None and course.holds(known)


def _precedes(paths: SnapshotPaths, start: int) -> bool:
    """Whether a snapshot without a manifest (real Caffe's) is at iteration ``start`` or before."""
    return not paths.manifest.exists() and snapshots.iteration_of(paths.caffemodel) <= start


def _how_it_differs(paths: SnapshotPaths, course: Course) -> str:
    try:
        there = Manifest.read(paths.manifest).course
    except InputError:
        return _UNKNOWN
    if not there.settings:
        return _UNKNOWN
    found = differences(there.settings, course.settings)
    if found:
        return in_words(found)
    spans = [f"{s.first} to {s.last}" for s in there.segments[:-1]]
    return f"iterations {', '.join(spans)} were computed with other settings" if spans else "another course"


def refuse_resume(prefix: str, paths: SnapshotPaths, course: Course) -> UsageError:
    """The error for --resume where the newest snapshot was computed with other settings."""
    return UsageError(
        f"{prefix}: expected snapshots of this run to resume from, found {paths.caffemodel.name} "
        f"({_how_it_differs(paths, course)}): {_offer(prefix)}"
    )


def _offer(prefix: str) -> str:
    newest = snapshots.latest_whole(prefix)
    state = newest.solverstate if newest else next(iter(sorted(Path(prefix).parent.glob("*.solverstate*"))), None)
    go_on = f"--snapshot {state} goes on from it, " if state else ""
    return (
        f"{go_on}another snapshot_prefix (make: OUT=) leaves it alone, --overwrite (make: OVERWRITE=1) removes what is "
        "there"
    )
