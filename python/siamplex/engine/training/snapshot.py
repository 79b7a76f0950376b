"""Snapshots: a caffemodel and a solverstate as Caffe writes them, and a manifest with the hashes of both.

The manifest (``PREFIX_iter_N.json``) is written last.  It has the hash of each file, the data cursors and the seed.
So a run resumes only from a complete pair of files, and with the sample that it would have read next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from siamplex.engine.training.course import Course, Segment, standing
from siamplex.errors import InputError, StorageError
from siamplex.run.durable import sha256, write_text
from siamplex.run.output_names import ending, without
from siamplex.schema.json_files import read_object
from siamplex.schema.weights import Written

_FORMAT = 2  # 1: with hashes for an origin, from which no setting can be told


@dataclass(frozen=True)
class SnapshotPaths:
    """The files of one snapshot, as Caffe names them, and the manifest beside them."""

    caffemodel: Path
    solverstate: Path
    manifest: Path

    @property
    def gram(self) -> Path:
        """The file of dual forms of a run that was stopped between snapshots (``PREFIX_iter_N.gram.npz``)."""
        return self.manifest.with_suffix(".gram.npz")

    def __iter__(self) -> Iterator[Path]:
        return iter((self.caffemodel, self.solverstate, self.manifest))

    @classmethod
    def of(cls, prefix: str | Path, iteration: int, hdf5: bool | None = None) -> SnapshotPaths:
        """Files of ``prefix`` at ``iteration``, in HDF5 or binaryproto; None: in the format that exists."""
        return cls._of_stem(f"{prefix}_iter_{iteration}", hdf5)

    @classmethod
    def _of_stem(cls, stem: str, hdf5: bool | None) -> SnapshotPaths:
        ending = ".h5" if (_is_hdf5(stem) if hdf5 is None else hdf5) else ""
        return cls(Path(f"{stem}.caffemodel{ending}"), Path(f"{stem}.solverstate{ending}"), Path(f"{stem}.json"))

    @classmethod
    def beside(cls, path: str | Path) -> SnapshotPaths:
        """The snapshot to which the file ``path`` belongs."""
        named = re.fullmatch(r"(.+?)\.(?:(?:caffemodel|solverstate)(\.h5)?|json)", str(path), re.DOTALL)
        if named is None:
            return cls._of_stem(str(path), False)
        return cls._of_stem(named.group(1), None if str(path).endswith(".json") else named.group(2) is not None)


def _is_hdf5(stem: str) -> bool:
    """Whether the snapshot of that name is in HDF5; if files of both formats exist, its manifest decides."""
    there = [any(Path(f"{stem}.{kind}{h5}").exists() for kind in ("caffemodel", "solverstate")) for h5 in ("", ".h5")]
    if there[0] and there[1]:
        try:
            name = read_object(Path(f"{stem}.json"), "a snapshot manifest").get("caffemodel", {}).get("name")
        except (InputError, AttributeError):
            return False
        return str(name).endswith(".h5")
    return there[1]


@dataclass
class Manifest:
    """The files of a snapshot and the state of the run that they do not hold.

    ``weights`` are the files the run started from; a lean snapshot leaves out frozen tables that are in one of them.
    ``cursors`` holds the next record of each data layer, by ``net:layer``.  ``growths`` is the table growth log,
    ``in_full`` says that a table overflowed.  ``gram`` is the file of dual forms of a run stopped on request,
    ``shown`` the state of the running mean of losses.  ``unfilled`` names frozen layers that no weights file filled.
    ``carried`` are the values that layers carry from pass to pass (LSTM), by ``net:layer``.
    ``tested`` says that the tests of this iteration ran before the snapshot.  ``segments`` say which iterations were
    computed with which settings (:class:`~siamplex.engine.training.course.Course`); a run continues only its own
    snapshots.  ``note`` describes the origin of the weights.
    """

    iteration: int
    seed: int
    caffemodel: dict[str, Any]
    solverstate: dict[str, Any]
    cursors: dict[str, int] = field(default_factory=dict)
    weights: list[dict[str, str]] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    lean: bool = False
    unfilled: list[str] = field(default_factory=list)
    growths: list[list[Any]] = field(default_factory=list)
    in_full: bool = False
    gram: dict[str, Any] | None = None
    shown: dict[str, Any] = field(default_factory=dict)
    tested: bool = False
    carried: dict[str, list[str]] = field(default_factory=dict)
    format: int = _FORMAT

    @property
    def course(self) -> Course:
        """Which iterations were computed with which settings; the settings are empty where they are not known."""
        return Course.of(self.segments) if self.segments else Course((Segment(0, self.iteration, {}),))

    def write(self, path: Path) -> None:
        """Write the manifest, which makes the snapshot valid."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest; raises InputError."""
        content = read_object(path, "a snapshot manifest")
        if content.get("format") == 1 and isinstance(content.pop("origin", {}), dict):
            content["format"] = _FORMAT  # its settings are not known
        if content.get("format") != _FORMAT:
            raise InputError(path, f"a snapshot manifest of format {_FORMAT}", str(content.get("format")))
        known = {f.name: f for f in fields(cls)}
        for name, value in content.items():
            if name not in known or not _fits(name, value):
                raise InputError(path, "a snapshot manifest", f"{name}: {value!r:.80}")
        try:
            return cls(**content)
        except TypeError as error:
            raise InputError(path, "a snapshot manifest", str(error)) from None


def _fits(name: str, value: Any) -> bool:
    """Whether a manifest's value is of its field's kind."""
    if name in ("caffemodel", "solverstate", "shown"):
        return isinstance(value, dict)
    if name == "gram":
        return value is None or isinstance(value, dict)
    if name == "cursors":
        return isinstance(value, dict) and all(isinstance(v, int) for v in value.values())
    if name == "carried":
        return isinstance(value, dict) and all(isinstance(v, list) for v in value.values())
    if name == "unfilled":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if name == "segments":
        try:
            return value == [] or bool(Course.of(value))
        except (KeyError, TypeError, ValueError):
            return False
    if name == "weights":
        return isinstance(value, list) and all(isinstance(w, dict) and {"path", "sha256"} <= set(w) for w in value)
    if name == "growths":
        return isinstance(value, list) and all(isinstance(g, list) and len(g) == 3 for g in value)
    return isinstance(value, str) if name == "note" else isinstance(value, int)


def entry(path: Path, written: Written) -> dict[str, Any]:
    """A file's entry in a manifest."""
    return {"name": path.name, "size": written.size, "sha256": written.sha256}


def is_as_said(path: Path, said: Mapping[str, Any]) -> bool:
    """Whether a file exists with the size and hash of its manifest entry."""
    return path.exists() and path.stat().st_size == said.get("size") and sha256(path) == said.get("sha256")


def verify(paths: SnapshotPaths) -> Manifest:
    """The manifest, after checking both files against it.  Raises InputError."""
    manifest = Manifest.read(paths.manifest)
    for path, said in ((paths.caffemodel, manifest.caffemodel), (paths.solverstate, manifest.solverstate)):
        if not path.exists():
            raise InputError(path, f"the file named by {paths.manifest.name}", "nothing there")
        size = path.stat().st_size
        if size != said.get("size"):
            raise InputError(path, f"{said.get('size')} bytes, as {paths.manifest.name} says", f"{size}")
        if sha256(path) != said.get("sha256"):
            raise InputError(path, f"the content {paths.manifest.name} says", "other bytes")
    return manifest


def iterations(prefix: str | Path) -> list[int]:
    """Iterations of which ``prefix`` has a manifest, rising."""
    return standing(prefix, ("json",))


def latest_whole(prefix: str | Path, course: Course | None = None) -> SnapshotPaths | None:
    """The newest snapshot of ``prefix`` whose files are whole (and of this ``course``), or None."""
    for iteration in reversed(iterations(prefix)):
        paths = SnapshotPaths.of(prefix, iteration)
        try:
            manifest = Manifest.read(paths.manifest)
            if course is not None and not course.holds(manifest.course):
                continue
            verify(paths)
        except InputError:
            continue
        return paths
    return None


def own(prefix: str | Path, course: Course | None = None) -> list[int]:
    """Iterations of the snapshots under ``prefix`` that belong to its run, in rising order.

    The run is that of ``course`` or else of ``PREFIX_run.json``.  Without either (real Caffe's snapshots) all belong
    to it.  A snapshot whose manifest cannot be read, or has another course, does not belong; one without a manifest
    only where the course says that the binary made it.
    Raises InputError for a broken ``PREFIX_run.json``.
    """
    course = course or Course.read(prefix)
    if course is None:
        return standing(prefix)
    return [n for n in standing(prefix) if belongs(SnapshotPaths.of(prefix, n), course)]


def belongs(paths: SnapshotPaths, course: Course) -> bool:
    """Whether a snapshot is of ``course``, by its manifest, or where it has none by its iteration."""
    if not paths.manifest.exists() and paths.caffemodel.exists():
        return course.has_bare(int(paths.manifest.stem.rpartition("_")[2]))
    try:
        return course.holds(Manifest.read(paths.manifest).course)
    except (InputError, StorageError):
        return False


def check_own(weights: Path) -> None:
    """Refuse a snapshot that does not belong to the run of its prefix.  Raises InputError."""
    named = re.fullmatch(r"(.+)_iter_(\d+)\.caffemodel(?:\.h5)?", weights.name)
    if not named or not weights.exists():
        return
    prefix = weights.parent / named.group(1)
    course = Course.read(prefix)
    paths = SnapshotPaths.beside(weights)
    if course is not None and paths.manifest.exists() and not belongs(paths, course):
        raise InputError(weights, f"a snapshot of the run that {prefix.name}_run.json tells of", "one of another run")


def note_of(weights: Path) -> str:
    """What the JSON beside a caffemodel (a manifest, or that of starting weights) says of its origin."""
    try:
        content = read_object(ending(without(weights, ".caffemodel.h5", ".caffemodel"), ".json"), "a note")
    except InputError:
        return ""
    return str(content.get("note") or "")


def is_lean(weights: Path) -> bool:
    """Whether the manifest beside a caffemodel says that it leaves image tables out."""
    try:
        return Manifest.read(SnapshotPaths.beside(weights).manifest).lean
    except InputError:
        return False


def iteration_of(weights: Path) -> int:
    """Iteration of a snapshot, from its name as Caffe forms it; 0 for starting weights."""
    named = re.search(r"_iter_(\d+)(?:\.(?:caffemodel|solverstate)(?:\.h5)?|\.[^.]*)?$", weights.name)
    return int(named.group(1)) if named else 0
