"""All checks of a run, in the order of the pipeline."""

from __future__ import annotations

from pathlib import Path

from siamplex.audit.corpus_checks import check_corpus
from siamplex.audit.finding import DIFFERS, Finding, Findings
from siamplex.audit.learning_checks import check_learning
from siamplex.audit.net_checks import check_net
from siamplex.audit.pair_checks import check_pairs
from siamplex.audit.pixel_checks import Pictures, check_pixels
from siamplex.audit.run_files import RunFiles
from siamplex.audit.solver_checks import check_solver
from siamplex.audit.stored_pairs import StoredPairs, read_indexed, read_stacked
from siamplex.audit.weight_checks import check_start, check_weights
from siamplex.errors import InputError
from siamplex.pairs.build import load_images

_STAGES = {1: "conv1-3 frozen, 5000 iterations", 2: "fine-tune everything, 5000 more"}


def audit(run: Path, alexnet: Path | None = None, everything: bool = False) -> list[Finding]:
    """Compare the files of ``run`` with the paper; the command lines that made them do not count.

    ``alexnet`` is bvlc_alexnet.caffemodel, to compare arrays with; ``everything`` reads every stacked record instead of
    a sample.  Raises InputError or PrototxtError where a file cannot be read at all.
    """
    files = RunFiles(run)
    images = _pictures(files)
    stored = _stored(files, images, everything)
    found = check_corpus(files)
    if stored:
        found += check_pairs(files, stored)
    else:
        missing = Findings("pairs")
        missing.unchecked("pairs", "all pairs, labelled", "stacked pairs cannot be told without the image files")
        found += missing.made
    found += check_pixels(files, images, stored)
    found += check_start(files, alexnet)
    for number, wanted in _STAGES.items():
        stage = files.stages.get(number)
        if stage is None:
            absent = Findings(f"stage {number}")
            absent.stated("trained", wanted, "no snapshot", False)
            found += absent.made
            continue
        found += check_net(stage.net, number)
        found += check_solver(files, stage)
        found += check_weights(files, stage)
        found += check_learning(files, stage)
    found += _engine(files)
    return found


def differs(findings: list[Finding]) -> bool:
    """Whether any setting that the paper states differs here."""
    return any(f.verdict == DIFFERS for f in findings)


def _pictures(files: RunFiles) -> Pictures | None:
    """The corpus's files, where they still lie as indexed."""
    options = files.store.store.options
    try:
        return load_images(files.store.index, int(options["size"]), str(options["resize"]))
    except InputError:
        return None


def _stored(files: RunFiles, images: Pictures | None, everything: bool) -> dict[str, StoredPairs]:
    splits = list(files.store.store.lmdbs)
    if files.layout == "indexed":
        return {name: read_indexed(files.lmdb(name), len(files.store.index)) for name in splits}
    if images is None:
        return {}
    return {name: read_stacked(files.lmdb(name), images, everything) for name in splits}


def _engine(files: RunFiles) -> list[Finding]:
    found = Findings("engine")
    engines = sorted({str(s["engine"]) for s in files.record if s.get("command") == "train" and s.get("engine")})
    if not engines:
        found.unchecked("engine", "Caffe", "no run record")
    elif engines == ["caffe"]:
        found.stated("engine", "Caffe", "Caffe", True)
    else:
        why = "computes what Caffe computes, held to recorded runs of real Caffe; random draws are its own"
        found.stated("engine", "Caffe", " and ".join(engines), True, why)
    return found.made
