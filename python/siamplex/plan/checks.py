"""Checks that a run can finish: each raises, before the first step, the error that a later step would."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from siamplex.corpus.emotions import NAMES, named
from siamplex.engine.training.course import Course, standing
from siamplex.engine.training.origin import differences, in_words, net_settings, solver_settings
from siamplex.engine.training.run_lock import check_not_held
from siamplex.engine.training.snapshot import SnapshotPaths, own
from siamplex.errors import InputError, StorageError, UsageError
from siamplex.geometry.orders import PAPER_ORDER, ordered
from siamplex.nets.architecture import Architecture
from siamplex.nets.generate import NetOptions, RunLayout, generate
from siamplex.plan.corpus import Corpus
from siamplex.plan.settings import RunSettings
from siamplex.plan.words import in_bytes
from siamplex.run.durable import free_bytes
from siamplex.schema import prototxt

_DEVICE = re.compile(r"cpu|cuda(?::\d+)?")
_COUNT = re.compile(r"[0-9]{1,9}")


def check_names(settings: RunSettings) -> None:
    """Refuse names of folders and files that a later command would misread."""
    names = {name: settings[name] for name in ("OUT", "FACES", "HUMAN")} | {"ALEXNET": settings.alexnet or ""}
    if not settings["OUT"].strip():
        raise UsageError("OUT: expected the name of a folder, found none")
    for name, text in names.items():
        if text.startswith("-"):
            raise UsageError(f"{name}: expected a name that does not begin like an option (./{text}), found '{text}'")
        if text.startswith("~"):
            raise UsageError(f"{name}: expected the home folder written out, found '{text}'")
        if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in text):  # the last: bytes that are no UTF-8
            raise UsageError(f"{name}: expected a name in UTF-8 without control characters, found '{text}'")
    if "," in settings["OUT"]:
        raise UsageError(
            f"OUT: expected a name without a comma, at which lists of weights are cut, found '{names['OUT']}'"
        )


def check_folders(out: Path, folders: Sequence[str]) -> None:
    """Refuse an output folder that is a file, cannot be made or cannot be written."""
    for path in (out, *(out / name for name in folders)):
        if path.exists() and not path.is_dir():
            raise StorageError(f"OUT: {path}: expected a folder to write, found a file")
        if path.is_dir():
            _try_to_write(path, path)
    above = out.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise StorageError(f"OUT: {out}: expected a folder that can be made, found a file at {above}")
    _try_to_write(above, out)


def _try_to_write(folder: Path, wanted: Path) -> None:
    """Write a file that has no name and is gone at once: permissions alone do not tell of a read-only disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        found = error.strerror or str(error)
        raise StorageError(f"OUT: {wanted}: expected to write in {folder}, found: {found}") from None


def check_shown(settings: RunSettings, iterations: int, interval: int) -> None:
    """Refuse iterations to show for which stage 1 will have no snapshot."""
    words = settings["SHOWN"].split()
    wrong = next((w for w in words if not _COUNT.fullmatch(w)), None)
    if wrong is not None:
        raise UsageError(f"SHOWN: expected iterations such as '20 40', found '{wrong}'")
    shown = [int(w) for w in words]
    if shown != sorted(set(shown)) or any(str(n) != w for n, w in zip(shown, words, strict=True)):
        raise UsageError(f"SHOWN: expected iterations, rising, found '{settings['SHOWN']}'")
    if settings.on("EARLY_STOP"):
        return  # those before the stop are shown
    late = [n for n in shown if n > iterations]
    if late:
        raise UsageError(f"SHOWN: expected iterations up to {iterations} (ITERATIONS), found {late[0]}; "
                         f"give SHOWN='{_offer(iterations, interval if settings.by_caffe else 1)}'")  # fmt: skip
    if settings.by_caffe:
        missing = [n for n in shown if n and n != iterations and (not interval or n % interval)]
        if missing:
            raise UsageError(
                f"SHOWN: expected multiples of SNAPSHOT, {interval}, of which the caffe binary takes snapshots, "
                f"found {missing[0]}"
            )


def _offer(iterations: int, interval: int) -> str:
    """Four iterations to show, where the paper's 2000, 3000, 4000 and 5000 of 5000 would lie."""
    step = max(interval, 1)
    found = {max(iterations * k // 5 // step * step, 1) if step == 1 else iterations * k // 5 // step * step
             for k in (2, 3, 4)} - {0}  # fmt: skip
    return " ".join(map(str, sorted(found | {iterations})))


def check_device(settings: RunSettings, processes: int) -> None:
    """Refuse an engine or device that this machine has not, and more processes than GPUs."""
    device = settings["DEVICE"]
    if settings.by_caffe:
        _check_caffe(device, processes)
        return
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"DEVICE: expected cpu, cuda or cuda:N, found '{device}'")
    if processes > 1 and ":" in device:
        raise UsageError(f"DEVICE: expected cuda with PROCESSES={processes} (each takes one GPU), found '{device}'")
    if device == "cpu":
        return
    import torch  # two seconds, and only where a GPU is asked for

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not there:
        raise UsageError(f"DEVICE: expected a GPU for {device}, found none that torch can use (make doctor says more)")
    number = int(device.partition(":")[2] or 0)
    if number >= there:
        raise UsageError(f"DEVICE: expected cuda:0 to cuda:{there - 1}, found '{device}'")
    if processes > there:
        raise UsageError(f"PROCESSES: expected at most the {there} GPUs there are, found {processes}")


def _check_caffe(device: str, processes: int) -> None:
    from siamplex.caffe_engine.binary import check_gpus, find_binary, gpus_of

    if processes > 1:
        raise UsageError(f"PROCESSES: expected 1 with ENGINE=caffe (DEVICE=cuda:0,1 takes two GPUs), found {processes}")
    gpus = gpus_of(device)
    try:
        binary = find_binary()
        _ = binary.feature_tool
    except InputError as error:
        raise UsageError(f"ENGINE: {error}") from None
    try:
        check_gpus(binary, gpus)
    except UsageError as error:
        raise UsageError(f"DEVICE: {error}") from None


def check_processes(settings: RunSettings, batches: Sequence[int]) -> int:
    """The number of processes.  Refuses batches that cannot be divided evenly among them."""
    text = settings["PROCESSES"].strip()
    if not _COUNT.fullmatch(text) or not int(text):
        raise UsageError(f"PROCESSES: expected a number of processes, found '{settings['PROCESSES']}'")
    count = int(text)
    uneven = next((b for b in batches if b % count), None)
    if uneven:
        raise UsageError(
            f"PROCESSES: expected a number that divides BATCH and STAGE2_BATCH, found {count} for {uneven}"
        )
    return count


def check_people(path: Path, corpus: Corpus | None, out: Path) -> None:
    """Refuse judgements that similarity and maps cannot use; for judged pictures also if none is in the corpus."""
    from siamplex.similarity.human import read_human
    from siamplex.similarity.matching import match
    from siamplex.similarity.picture_table import PictureTable
    from siamplex.similarity.report import check_people as check_names_of

    judgements = read_human(path)
    if isinstance(judgements, PictureTable):
        if corpus is not None:
            images = [entry.image for entry in corpus.index.entries]
            match(judgements.pictures, path, images, (corpus.index, out / "pairs"))
    else:
        check_names_of(judgements, corpus.index.emotions if corpus is not None else PAPER_ORDER)
        if not judgements.rdm().values.any():
            raise InputError(path, "judgements that tell emotions apart", "dissimilarities that are all zero")


def check_weights(settings: RunSettings, drawn: bool, arch: Architecture | None) -> None:
    """Refuse starting weights that are missing, not AlexNet's, or of the wrong shape for the tower."""
    from siamplex.weights import alexnet

    path = settings.weights_file
    if path is None or not path.exists():
        if path is not None and settings.alexnet is not None:
            raise InputError(path, "AlexNet's weights (ALEXNET)", "nothing there; make weights fetches them")
        if not drawn and not settings.on("SUBSTITUTE"):
            raise UsageError(
                f"your own faces start from AlexNet's weights, and there is no {path or 'ALEXNET'}: make weights "
                "fetches them, ALEXNET=FILE names them, SUBSTITUTE=1 starts from a stated substitute"
            )
        return
    alexnet.load(path, accept_other=settings.on("OTHER_WEIGHTS"))
    if arch and any(arch.units(full) != full for full in (96, 256, 384)):
        raise UsageError(f"WIDTH: expected 1 for the weights of {path}, found {settings['WIDTH']} "
                         "(ALEXNET= starts from the substitute)")  # fmt: skip


def check_emotions(corpus: Corpus, targets: Sequence[str]) -> None:
    """Refuse a corpus that lacks emotions or subjects that the planned analyses need."""
    if "train" not in corpus.pairs:
        raise UsageError("PAIRS_FLAGS: expected subjects to train on, found none")
    for target, splits, where in (
        ("similarity", (("train",), ("val", "test")), "training or held-out"),
        ("seeds", (("train",),), "training"),
    ):
        whole = set(corpus.index.emotions)
        if target in targets and not any(corpus.emotions(*s) >= whole for s in splits):
            missing = ", ".join(NAMES[e] for e in ordered(whole) if e not in corpus.emotions("train"))
            raise UsageError(f"FACES: {target} needs {named(whole)} among {where} subjects, found no {missing}")


def check_dimensions(arch: Architecture, targets: Sequence[str]) -> None:
    """Refuse an embedding that is not two-dimensional where figures or the circular order need a plane."""
    drawing = [t for t in ("figures", "seeds") if t in targets]
    if drawing and arch.embedding != 2:
        raise UsageError(f"NETS_FLAGS: {drawing[0]} needs --embedding 2, found {arch.embedding}")


def check_course(
    settings: RunSettings, prefix: str, stage: int, options: NetOptions, train: argparse.Namespace, has_val: bool
) -> None:
    """Refuse to train where snapshots with other settings lie, as far as this is known before files are made."""
    check_not_held(prefix)
    known = Course.read(prefix)
    if settings.on("OVERWRITE") or train.overwrite or known is None or not known.settings or not standing(prefix):
        return
    where = RunLayout(has_val=has_val)
    texts = generate(options, where)
    solver = prototxt.parse(texts[where.solver(stage, settings["LAYOUT"])], "SolverParameter").message
    net = prototxt.parse(texts[where.net(stage, settings["LAYOUT"])], "NetParameter").message
    seed = train.seed if train.seed is not None else int(solver.random_seed)
    here = solver_settings(solver) | net_settings(net) | ({"seed": str(seed)} if seed >= 0 else {})
    if train.amp:
        here["arithmetic"] = "bfloat16"
    hashed = ("records of ", "weights ", "mean of ", "test net ")
    found = differences({k: v for k, v in known.settings.items() if not k.startswith(hashed)}, here)
    if found:
        raise UsageError(
            f"OUT: {prefix}: expected no snapshots of another run, found iteration {standing(prefix)[-1]} "
            f"({in_words(found)}): another OUT leaves them alone, OVERWRITE=1 removes them"
        )


def check_past(prefix: str, wanted: Sequence[int], overwrite: bool, setting: str) -> None:
    """Refuse iterations that a run has already passed without keeping their snapshot."""
    there = [] if overwrite else own(prefix)
    for iteration in wanted:
        passed = bool(there) and iteration <= there[-1]
        if iteration and passed and not SnapshotPaths.of(prefix, iteration).caffemodel.exists():
            kept = " ".join(map(str, there))
            raise UsageError(f"{setting}: expected an iteration of which {prefix} has a snapshot ({kept}), or that is "
                             f"still to come, found {iteration}")  # fmt: skip


def check_disk(out: Path, needed: int) -> None:
    """Refuse to start if the disk is too small for the run."""
    free = free_bytes(out)
    if needed > free:
        raise StorageError(f"OUT: {out}: expected {in_bytes(needed)} free for what is to come, found {in_bytes(free)}")
