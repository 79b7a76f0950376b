"""Checks of the weights: where they started, which layers stayed frozen or learnt, which snapshots exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles, Stage, same_file
from siamplex.audit.towers import of_type, read_twins
from siamplex.engine.net.phase import net_state
from siamplex.engine.net.unfilled import unfilled
from siamplex.engine.training.snapshot import note_of, verify
from siamplex.errors import InputError
from siamplex.schema.blobs import Array
from siamplex.schema.weights import read_caffemodel
from siamplex.weights import alexnet
from siamplex.weights.convolution_files import SHAPES, regroup
from siamplex.weights.fingerprint import Fingerprint, fingerprint
from siamplex.weights.initial import CONVOLUTIONS, ungroup
from siamplex.weights.substitute import NOTE as SUBSTITUTE

Layers = dict[str, list[Array]]


def check_start(files: RunFiles, alexnet_file: Path | None) -> list[Finding]:
    """Whether conv1-3 start from AlexNet: by its fingerprint, and array by array with a file at hand."""
    found = Findings("starting weights")
    setting, wanted = "conv1-3 start from", "AlexNet"
    if not files.initial.exists():
        found.unchecked(setting, wanted, f"{files.initial} is not there")
        return found.made
    layers = read_caffemodel(files.initial)
    note = note_of(files.initial)
    known = _recognised(layers)
    by_value = f"AlexNet's by fingerprint ({known.words})" if known else ""
    theirs = alexnet.load(alexnet_file, accept_other=True) if alexnet_file else None
    if theirs and theirs.kind == alexnet.FOREIGN:
        found.stated(setting, wanted, by_value or "other weights", bool(known), f"{alexnet_file} is not AlexNet's")
    elif theirs:
        other = [name for name in CONVOLUTIONS if not _equal(layers.get(name, []), theirs.arrays[name])]
        words = "AlexNet" if not other else f"other values in {', '.join(other)}"
        why = f"compared array by array with {theirs.words}"
        found.stated(setting, wanted, words, not other, f"{why}; the run's are {by_value}" if other and known else why)
    elif known:
        found.stated(setting, wanted, by_value, True, note)
    elif note == SUBSTITUTE:
        found.stated(setting, wanted, "a substitute", False, SUBSTITUTE)
    elif note.startswith(alexnet.OTHER):
        found.stated(setting, wanted, "other weights", False, note)
    else:
        found.unchecked(setting, wanted, f"{note or 'nothing is recorded'}; --alexnet FILE compares the arrays")
    return found.made


def _recognised(layers: Layers) -> Fingerprint | None:
    """AlexNet's fingerprint in starting weights, where their shapes allow it."""
    arrays = {}
    for name, shape in SHAPES.items():
        weights = layers[name][0] if layers.get(name) else np.empty(0, np.float32)
        arrays[name] = [regroup(weights, shape)]
        if arrays[name][0].shape != shape:
            return None
    return fingerprint(arrays)


def check_weights(files: RunFiles, stage: Stage) -> list[Finding]:
    """Frozen layers, learning layers, the chain from stage to stage, the snapshots of the figures."""
    found = Findings(f"weights of stage {stage.number}")
    _whole(found, stage)
    _rates(found, stage)
    _filled(found, files, stage)
    _moved(found, files, stage)
    _chain(found, files, stage)
    if stage.number == 1:
        there = [n for n in paper.SHOWN if n in stage.snapshots or (n == 0 and files.initial.exists())]
        found.stated("snapshots of Figures 3 and 4", _numbers(paper.SHOWN), _numbers(there))
    return found.made


def _numbers(values: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, values)) or "none"


def _whole(found: Findings, stage: Stage) -> None:
    if not stage.last.manifest.exists():
        return
    try:
        verify(stage.last)
        words, holds = "whole", True
    except InputError as error:
        words, holds = f"{error.path} is not: {error.found}", False
    found.stated("last snapshot is as written", "-", words, holds)


def _rates(found: Findings, stage: Stage) -> None:
    """Which convolutions the prototxt lets learn, in either tower."""
    twins = read_twins(stage.net)
    rates = {}
    for layer in of_type([*twins.first, *twins.second], "Convolution"):
        given = [p.lr_mult for p in layer.param] or [1.0]
        rates[layer.name] = max(given)
    learning = [name for name, rate in rates.items() if rate]
    if stage.number == 1:
        words = "frozen" if not learning else f"{', '.join(learning)} may learn"
        found.stated("rates of conv1-3", "frozen", words, not learning)
    else:
        words = "all learn" if len(learning) == len(rates) else "some are frozen"
        found.stated("rates of conv1-3", "all learn", words)


def _filled(found: Findings, files: RunFiles, stage: Stage) -> None:
    """Whether each layer that never learns was in a file the stage started from, or held what its filler made."""
    setting, why = (
        "frozen layers filled from weights files",
        "a layer in no file stays as its filler made it: an image ",
    )
    why += "table of zeros shows every face blank"
    state = net_state("TRAIN", stage.net.message.state)
    frozen = [u.layer for u in unfilled(stage.net.message, state, ())]
    if not frozen:
        return
    if stage.manifest and stage.manifest.unfilled:
        found.stated(setting, "all", f"all but {', '.join(stage.manifest.unfilled)}", False, why)
        return
    given = files.given(stage)
    there = [path for path, digest in given if path.is_file() and (not digest or same_file(path, digest))]
    wrong = unfilled(stage.net.message, state, {name for path in there for name in read_caffemodel(path)})
    words = f"all but {', '.join(f'{u.layer} ({u.holds})' for u in wrong)}" if wrong else "all"
    if len(there) == len(given) and (given or stage.manifest or not _held(stage, frozen)):
        found.stated(setting, "all", words, not wrong, why if wrong else ", ".join(frozen))
    elif wrong:
        gone = ", ".join(path.name for path, _ in given if path not in there)
        found.unchecked(setting, "all", f"{gone or 'what the stage started from'} is not there, or not recorded")
    else:
        found.stated(setting, "all", words, True, ", ".join(frozen))


def _held(stage: Stage, names: list[str]) -> bool:
    """Whether the last snapshot has some of these layers, and none of zeros alone."""
    layers = read_caffemodel(stage.last.caffemodel)
    held = [layers[name][0] for name in names if layers.get(name)]
    return bool(held) and all(bool(np.any(array)) for array in held)


def _moved(found: Findings, files: RunFiles, stage: Stage) -> None:
    """Which layers differ between the stage's start and its last snapshot."""
    start = _start(files, stage)
    if start is None:
        found.unchecked("layers that learned", "-", "the weights this stage started from are not there")
        return
    before, after = read_caffemodel(start), read_caffemodel(stage.last.caffemodel)
    tower = [layer.name for layer in of_type(read_twins(stage.net).first, "Convolution", "InnerProduct")]
    moved = [n for n in tower if n in before and n in after and not _equal(before[n], after[n])]
    still = [n for n in tower if n not in moved]
    convolutions = [n for n in moved if n in CONVOLUTIONS]
    why = f"{start.name} against {stage.last.caffemodel.name}, bit by bit"
    if stage.number == 1:
        words = "conv1-3 as at the start" if not convolutions else f"{', '.join(convolutions)} moved"
        found.stated("conv1-3 stayed", "conv1-3 frozen", words, not convolutions, why)
        still = [n for n in still if n not in CONVOLUTIONS]
    words = f"{', '.join(moved) or 'none'} moved" + (f", {', '.join(still)} did not" if still else "")
    expected = "fc4, fc5, fc6 learn" if stage.number == 1 else "everything learns"
    found.stated("layers that learned", expected, words, not still, why)


def _start(files: RunFiles, stage: Stage) -> Path | None:
    for path, digest in files.started_from(stage):
        if path.name != "images.caffemodel":
            return path if same_file(path, digest) else None
    if stage.number == 1:
        return files.initial if files.initial.exists() else None
    before = files.stages.get(1)
    return before.result.caffemodel if before else None


def _chain(found: Findings, files: RunFiles, stage: Stage) -> None:
    manifest = stage.manifest
    if manifest is None:
        return
    digests = {w["sha256"] for w in manifest.weights}
    if stage.number == 1:
        if files.initial.exists():
            holds = any(same_file(files.initial, d) for d in digests)
            found.stated("starts from", "-", "init.caffemodel" if holds else "other weights", holds)
        return
    before = files.stages.get(1)
    if before:
        holds = any(same_file(before.result.caffemodel, d) for d in digests)
        words = before.result.caffemodel.name if holds else "other weights"
        found.stated("starts from", "stage 1's weights", words, holds)


def _equal(ours: list[Array], theirs: list[Array]) -> bool:
    if len(ours) != len(theirs):
        return False
    for a, b in zip(ours, theirs, strict=True):
        wide = ungroup(b, a.shape) if a.ndim == b.ndim == 4 and a.shape != b.shape else b
        if a.size != wide.size or not np.array_equal(a.ravel(), wide.ravel()):
            return False
    return True
