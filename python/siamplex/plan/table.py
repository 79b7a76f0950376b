"""A plan as text, to read before the long work."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

from siamplex.engine.net.limits import machine_memory
from siamplex.plan.durations import MEASURED, Duration, Durations, in_words
from siamplex.plan.planning import Plan, PlannedStep
from siamplex.plan.speed import multiplication_rate
from siamplex.plan.words import in_bytes
from siamplex.run.durable import free_bytes

_WIDTH = 100


def as_text(plan: Plan, targets: list[str], rate: Callable[[], float] = multiplication_rate) -> str:
    """The plan: corpus, steps, totals, where times are from, refusals."""
    out = plan.settings["OUT"]
    lines = [f"Plan of make {' '.join(targets)}, in the folder {out}. Nothing has been run or written.", ""]
    lines += _corpus(plan)
    if plan.steps:
        lines += _steps(plan, Durations(plan, rate))
    lines += _refusals(plan, targets)
    return "\n".join(lines)


def _corpus(plan: Plan) -> list[str]:
    if not plan.corpus:
        return []
    corpus = plan.corpus
    kind = "drawn stand-in faces" if corpus.drawn else "faces"
    subjects = {s: list(corpus.split.values()).count(s) for s in ("train", "val", "test")}
    pairs = {s: corpus.pairs.get(s, 0) for s in subjects}
    lines = [f"{len(corpus.index)} {kind} of {len(corpus.index.subjects)} people (subjects):"]
    for name, what in (("train", "to train on"), ("val", "to validate on"), ("test", "held out for the end")):
        if subjects[name]:
            lines.append(f"  {subjects[name]:>3} {what}: {corpus.images(name)} faces, {pairs[name]:,} pairs of them")
    left = sum(map(len, corpus.index.left_out.values()))
    skipped = sum(corpus.index.skipped.values())
    if left or skipped:
        lines.append(f"  not used: {skipped} faces of other emotions, {left} other files (siamplex index names them)")
    return [*lines, ""]


def _steps(plan: Plan, durations: Durations) -> list[str]:
    lines = [f"{'step':<12}{'what it does':<51}{'disk':>9}{'memory':>9}{'time':>9}"]
    total: float | None = 0.0
    sources = set()
    for step in plan.steps:
        told = durations.of(step) if not step.skipped else Duration(0.0, "")
        if not step.skipped:
            total = None if total is None or told.seconds is None else total + told.seconds
            sources.add("" if told.seconds is None else told.source)
        lines += _step(plan, step, told)
    free = f"of {in_bytes(free_bytes(plan.settings.out))} free"
    try:
        there = f"of {in_bytes(machine_memory())}"
    except (OSError, ValueError):
        there = ""
    lines += ["-" * 90, f"{'all':<12}{'':<51}{in_bytes(plan.disk):>9}{in_bytes(plan.memory):>9}{in_words(total):>9}"]
    lines += [f"{'':<63}{free:>9}; {there}".rstrip("; "), ""]
    return lines + _notes(sources)


def _step(plan: Plan, step: PlannedStep, told: Duration) -> list[str]:
    what = textwrap.wrap(does(plan, step), 50)
    mark = "*" if told.source == MEASURED else ""
    if step.skipped:
        figures = f"  skipped: {step.skipped}"
    else:
        time = in_words(told.seconds) + (mark or " ")
        figures = f"{in_bytes(step.cost.disk):>9}{in_bytes(step.cost.memory):>9}{time:>10}".rstrip()
    lines = [f"{step.target:<12}{what[0]:<51}{figures}", *(f"{'':<12}{more}" for more in what[1:])]
    reads, writes = paths(plan, step)
    for label, names in (("reads", reads), ("writes", writes)):
        if names and not step.skipped:
            text = f"{label:<7}{', '.join(names)}"
            lines += textwrap.wrap(text, _WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 21,
                                   break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return lines


def does(plan: Plan, step: PlannedStep) -> str:
    """What a step does, in a few words."""
    corpus, nets, s = plan.corpus, plan.nets, plan.settings
    assert corpus and nets
    images = len(corpus.index)
    first, last = step.iterations
    going_on = f" (goes on from {first})" if first else ""
    stop = ", or until validation no longer improves" if s.on("EARLY_STOP") else ""
    count = len(step.commands)
    words = {
        "faces": f"draws {images} faces of {s['ACTORS']} people",
        "index": "lists the faces with subject and emotion",
        "pairs": f"splits the subjects, pairs their faces, {nets.arch.size} pixels each way",
        "prototxt": "writes the nets and solvers in Caffe's format",
        "init": f"starting weights: {_start(plan)}",
        "train": f"stage 1, AlexNet's layers frozen: {last} iterations of {nets.batch_size} pairs{going_on}{stop}",
        "finetune": f"stage 2, all layers learn: {last} iterations of {nets.stage2_batch_size} pairs{going_on}{stop}",
        "features": f"places every face on the plane, as of {count} moments of training",
        "figures": "draws Figures 3 to 6 and the losses",
        "geometry": "measures circular order and separability",
        "similarity": "compares the layers with " + ("people, " if s["HUMAN"] else "") + "action units and the circle",
        "report": "gathers everything on one page",
        "seeds": f"trains stage 1 from {s['SEEDS']} seeds and counts the paper's order",
    }
    return words[step.target]


def _start(plan: Plan) -> str:
    path = plan.settings.weights_file
    if path and path.exists():
        return f"the first layers of {path}, the rest at random"
    return "a stated substitute for AlexNet's first layers (no AlexNet file), the rest at random"


def paths(plan: Plan, step: PlannedStep) -> tuple[list[str], list[str]]:
    """What a step reads and writes, as its commands say; of many files in a folder, the folder."""
    if step.target in ("train", "finetune"):
        return _training_paths(plan, step)
    out = Path(plan.settings["OUT"])
    reads: list[str] = []
    writes: list[str] = []
    for options in step.options:
        if options.command == "prototxt":
            given, made = [Path(options.pairs) / "pairs.json"], [Path(options.nets), Path(options.solvers)]
        elif options.command == "index":
            given, made = [options.source], [options.out]
        else:
            given, made = options.module.files(options)
        reads += [str(p) for p in given]
        writes += [str(p) for p in made]
    return _short(reads, out), _short(writes, out)


def _training_paths(plan: Plan, step: PlannedStep) -> tuple[list[str], list[str]]:
    (options,) = step.options
    out = Path(plan.settings["OUT"])
    stage = out / ("stage1" if step.target == "train" else "stage2")
    reads = [str(options.solver), *map(str, options.weights), str(out / "pairs")]
    return _short(reads, out), [f"{stage}{os.sep} (snapshots, losses)"]


def _short(names: list[str], out: Path) -> list[str]:
    """Names once each; where several files lie in one folder of the run, that folder."""
    unique = list(dict.fromkeys(names))
    parents = [str(Path(n).parent) for n in unique]
    found = []
    for name, parent in zip(unique, parents, strict=True):
        several = parents.count(parent) > 1 and Path(parent) != out
        found.append(f"{parent}{os.sep}" if several else name)
    return list(dict.fromkeys(found))


def _notes(sources: set[str]) -> list[str]:
    lines = ["Disk and memory are reckoned from the sizes of images, pairs and nets."]
    if MEASURED in sources:
        lines.append("* Time as this run took before, by its run.json.")
    if "reckoned" in sources:
        lines.append("Time is reckoned from a half-second test of this machine: right within a factor of two, "
                     "longer while other work goes on.")  # fmt: skip
    if "" in sources:
        lines.append(
            "?: nothing was measured with this engine or device; a first run will tell, and be used next time."
        )
    return [*lines, ""]


def _refusals(plan: Plan, targets: list[str]) -> list[str]:
    if not plan.refusals:
        return [f"Nothing is in the way: make {' '.join(targets)} can begin."]
    count = len(plan.refusals)
    return [f"Refused, for {count} reason{'s' if count > 1 else ''}:", *(f"  - {text}" for text in plan.refusals)]
