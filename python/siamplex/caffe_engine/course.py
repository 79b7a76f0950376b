"""The settings of a run trained by the caffe binary, kept in ``PREFIX_run.json``: Caffe writes no manifests."""

from __future__ import annotations

from pathlib import Path

from siamplex.engine.net.data_source import DataSource
from siamplex.engine.net.phase import included, net_state
from siamplex.engine.training.course import Course, Segment
from siamplex.engine.training.origin import (
    Settings,
    differences,
    file_settings,
    in_words,
    mean_files,
    net_settings,
    solver_settings,
)
from siamplex.engine.training.snapshot import SnapshotPaths
from siamplex.errors import SiamplexError, UsageError
from siamplex.run.durable import sha256
from siamplex.run.progress import say
from siamplex.schema import prototxt
from siamplex.schema.messages import enum_name
from siamplex.schema.prototxt import Prototxt


def settings_of(solver: Prototxt, weights: tuple[Path, ...]) -> Settings:
    """The settings that define a solver's run, as far as they are known without building its nets.

    Files that cannot be read are left out: Caffe itself will report them.
    """
    message = solver.message
    found = solver_settings(message)
    if message.random_seed >= 0:
        found["seed"] = str(message.random_seed)
    records: dict[str, str] = {}
    for field in ("net", "train_net"):
        if not getattr(message, field):
            continue
        try:
            net = prototxt.read(solver.find(getattr(message, field)), "NetParameter", solver.bounds)
            found |= net_settings(net.message) | mean_files(net.message, net.find)
        except SiamplexError:
            continue
        for label, phase in (("train", "TRAIN"), ("test0", "TEST")):
            records |= {f"{label}:{name}": digest for name, digest in _records(net, phase).items()}
    return found | file_settings([(path, sha256(path)) for path in weights if path.is_file()], records)


def _records(net: Prototxt, phase: str) -> dict[str, str]:
    """Hashes of the stores of a phase's Data layers; of one that cannot be read Caffe itself will say so."""
    state, found = net_state(phase, net.message.state), {}
    for layer in net.message.layer:
        if layer.type == "Data" and included(layer, state):
            folder = net.find(str(layer.data_param.source))
            try:
                found[str(layer.name)] = DataSource(folder, enum_name(layer.data_param, "backend")).fingerprint()
            except SiamplexError:
                continue
    return found


def check_resumes(prefix: str, snapshot: Path | None, settings: Settings) -> None:
    """Refuse to resume a snapshot computed with other settings.  Raises UsageError or InputError."""
    if snapshot is None:
        return
    known = Course.read(prefix)
    if known is None or not known.settings:
        say(f"{snapshot}: what it was computed with is not recorded; going on from it all the same")
        return
    found = differences(known.settings, settings)
    if found:
        raise UsageError(
            f"{prefix}: expected snapshots of this run to resume from, found {snapshot.name} ({in_words(found)}): "
            f"{_offer(snapshot)}"
        )


def course_from(prefix: str, snapshot: Path | None, first: int, settings: Settings) -> Course:
    """The course of the run that begins now.  Raises InputError."""
    if snapshot is None:
        return Course.fresh(settings, manifests=False)
    mine = str(snapshot).startswith(f"{prefix}_iter_")
    known = (Course.read(prefix) if mine else None) or Course((Segment(0, first, {}, False),))
    return known.going_on(first, settings, manifests=False)


def occupied(prefix: str, iteration: int, settings: Settings) -> UsageError:
    """The error where snapshots are in the way."""
    known = Course.read(prefix)
    found = differences(known.settings, settings) if known and known.settings else []
    there = SnapshotPaths.of(prefix, iteration)
    state, name = there.solverstate, there.manifest.stem
    if known and known.settings and not found:
        return UsageError(
            f"{prefix}: expected no snapshots of this run yet, found {name}: --resume goes on from there, "
            "--overwrite (make: OVERWRITE=1) begins anew"
        )
    how = in_words(found) or "what it was computed with is not known"
    return UsageError(f"{prefix}: expected no snapshots of another run, found {name} ({how}): {_offer(state)}")


def _offer(state: Path) -> str:
    return (
        f"--snapshot {state} goes on from it, another snapshot_prefix (make: OUT=) leaves it alone, --overwrite "
        "(make: OVERWRITE=1) removes what is there"
    )
