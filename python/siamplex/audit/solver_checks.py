"""Solver settings of a stage, and that solver and net are those its snapshots were made with."""

from __future__ import annotations

from siamplex.audit import paper
from siamplex.audit.finding import Finding, Findings
from siamplex.audit.run_files import RunFiles, Stage
from siamplex.audit.towers import read_twins
from siamplex.durable import sha256
from siamplex.engine.data_source import DataSource
from siamplex.engine.origin import net_hash, settings_hash
from siamplex.engine.result import BY_VALIDATION, Result

_EPOCHS = (
    "the paper counts epochs; 5000 passes over 126,756 pairs in 5 hours would be 35,000 pairs a second, so they are "
    "taken for iterations"
)

_STOPPED = "the paper does not say which of the two came first"


def check_solver(files: RunFiles, stage: Stage) -> list[Finding]:
    """Hold a stage's solver against the paper, and against what its snapshots remember."""
    found = Findings(f"solver of stage {stage.number}")
    p = stage.solver.message
    found.stated("optimiser", "SGD", str(p.type) or "SGD")
    found.stated("base learning rate", f"{paper.BASE_LR:g}", f"{p.base_lr:g}")
    found.stated("rate policy", "step", p.lr_policy)
    found.stated("stepsize", paper.STEPSIZE, int(p.stepsize))
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


def _remembered(found: Findings, files: RunFiles, stage: Stage) -> None:
    """What the newest snapshot's manifest says it was made with, against what is there now."""
    manifest = stage.manifest
    setting = "solver, net and pairs are those trained with"
    if manifest is None:
        recorded = files.training(stage.number).get("inputs", {})
        known = {v.get("sha256") for v in recorded.values()}
        if not known:
            found.unchecked(setting, "-", "no manifest beside the snapshots and no run record")
            return
        changed = [s.path.name for s in (stage.solver, stage.net) if sha256(s.path) not in known]
    else:
        origin = manifest.origin
        changed = [stage.solver.path.name] if origin.get("solver") != settings_hash(stage.solver.message) else []
        changed += [stage.net.path.name] if origin.get("net0") != net_hash(stage.net.message) else []
        data = read_twins(stage.net).data
        if DataSource(files.lmdb("train")).fingerprint() != origin.get(f"train:{data.name}"):
            changed.append(files.lmdb("train").name)
        if origin.get("amp"):
            found.stated("arithmetic", "float32 (Caffe)", origin["amp"])
    source = str(read_twins(stage.net).data.data_param.source)
    if not source.rstrip("/").endswith(f"pairs/{files.lmdb('train').name}"):
        changed.append(f"the net trains on {source}")
    words = "unchanged since" if not changed else f"changed: {', '.join(changed)}"
    found.stated(setting, "-", words, not changed)
