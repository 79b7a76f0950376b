"""Checks of a stage's solver settings, and that its snapshots were made with this solver and net."""

from __future__ import annotations

from typing import Any

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles, Stage
from siamplex.audit.towers import read_twins
from siamplex.engine.net.data_source import DataSource
from siamplex.engine.training.origin import Settings, differences, in_words, net_settings, solver_settings
from siamplex.engine.training.result import BY_VALIDATION, Result
from siamplex.run.durable import sha256

_EPOCHS = (
    "the paper counts epochs; 5000 passes over 126,756 pairs in 5 hours would be 35,000 pairs a second, so they are "
    "taken for iterations"
)

_STOPPED = "the paper does not say which of the two came first"


def check_solver(files: RunFiles, stage: Stage) -> list[Finding]:
    """Compare a stage's solver with the paper, and with what its snapshots' manifest recorded."""
    found = Findings(f"solver of stage {stage.number}")
    p = stage.solver.message
    check_rate(found, p)
    found.silent("gamma", f"{p.gamma:g}", "with stepsize 5000 a stage of 5000 iterations never takes the step")
    found.silent("momentum", f"{p.momentum:g}", "Caffe's and AlexNet's usual one is 0.9")
    found.silent("weight decay", f"{p.weight_decay:g}", "AlexNet's is 0.0005")
    found.silent("passes an iteration (iter_size)", int(p.iter_size))
    found.silent("gradient clipping", "none" if p.clip_gradients < 0 else f"{p.clip_gradients:g}")
    result = Result.read(stage.prefix)
    trained = result.last if result else max(stage.snapshots)
    found.inconsistent("epochs or iterations", "5000 epochs in 5 GPU hours", f"{trained} iterations", _EPOCHS)
    if result and result.ended == BY_VALIDATION and p.max_iter == paper.ITERATIONS:
        words = f"up to {p.max_iter}; ended at {trained} by validation loss"
        found.inconsistent("length", f"{paper.ITERATIONS}, and stopped on the validation set", words, _STOPPED)
    else:
        found.stated("length", f"{paper.ITERATIONS}", f"{trained}")
    _remembered(found, files, stage)
    return found.made


def check_rate(found: Findings, p: Any) -> None:
    """Hold the optimiser and the learning rate of a SolverParameter against the paper."""
    found.stated("optimiser", "SGD", str(p.type) or "SGD")
    found.stated("base learning rate", f"{paper.BASE_LR:g}", f"{p.base_lr:g}")
    found.stated("rate policy", "step", p.lr_policy)
    found.stated("stepsize", paper.STEPSIZE, int(p.stepsize))


def _remembered(found: Findings, files: RunFiles, stage: Stage) -> None:
    """What the newest snapshot's manifest recorded, compared with the files that are there now."""
    manifest = stage.manifest
    setting = "solver, net and pairs are those trained with"
    if manifest is None:
        recorded = files.training(stage.number).get("inputs", {})
        known = {v.get("sha256") for v in recorded.values()}
        if not known:
            found.unchecked(setting, "-", "no manifest beside the snapshots and no run record")
            return
        changed = [s.path.name for s in (stage.solver, stage.net) if sha256(s.path) not in known]
    elif not manifest.course.settings:
        found.unchecked(setting, "-", "its manifest does not say what it was computed with")
        return
    else:
        there = manifest.course.settings
        here = solver_settings(stage.solver.message) | net_settings(stage.net.message)
        told = differences({k: v for k, v in there.items() if k in here or not _of_files(k)}, here)
        changed = [in_words(told)] if told else []
        data = read_twins(stage.net).data
        if DataSource(files.lmdb("train")).fingerprint() != there.get(f"records of train:{data.name}"):
            changed.append(files.lmdb("train").name)
        if there.get("arithmetic"):
            found.stated("arithmetic", "float32 (Caffe)", there["arithmetic"])
        _segments(found, stage)
    source = str(read_twins(stage.net).data.data_param.source)
    if not source.rstrip("/").endswith(f"pairs/{files.lmdb('train').name}"):
        changed.append(f"the net trains on {source}")
    words = "unchanged since" if not changed else f"changed: {', '.join(changed)}"
    found.stated(setting, "-", words, not changed)


def _of_files(name: str) -> bool:
    """Whether a recorded setting is not part of solver or net: a file's hash, the seed, the arithmetic."""
    return name in ("seed", "arithmetic") or name.startswith(("records of ", "weights ", "mean of ", "test net "))


def _segments(found: Findings, stage: Stage) -> None:
    """Whether all iterations were computed with the same settings."""
    manifest = stage.manifest
    assert manifest is not None
    *before, last = manifest.course.segments
    words = []
    for segment in before:
        told = _told(segment.settings, last.settings)
        words.append(f"iterations {segment.first} to {segment.last}: {told}")
    name = "settings of all iterations"
    if before:
        words.append(f"iterations {last.first} to {last.last}: as the solver")
        found.stated(name, "one training", "; ".join(words), False)
    else:
        found.stated(name, "one training", f"the same for {last.first} to {last.last}")


def _told(there: Settings, here: Settings) -> str:
    if not there:
        return "settings not known"
    return in_words(differences(there, here)).replace(" there, ", ", later ").replace(" here", "")
