"""The plan of a run: its steps and their costs, the steps that will be skipped, and every refusal."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from siamplex.commands.prototxt import options_of
from siamplex.engine.net.limits import machine_memory
from siamplex.engine.training.course import standing
from siamplex.engine.training.snapshot import own
from siamplex.errors import InputError, SiamplexError, UsageError
from siamplex.faces.corpus import check_target
from siamplex.nets.generate import NetOptions, RunLayout, generate
from siamplex.pairs.build import MAX_SIZE, PairOptions
from siamplex.plan import checks
from siamplex.plan.corpus import Corpus, corpus_of, index_of
from siamplex.plan.costs import Cost, Costs
from siamplex.plan.pipeline import NEEDS, Command, Pipeline, split_flags, wanted
from siamplex.plan.settings import RunSettings
from siamplex.plan.words import in_bytes, in_settings, read
from siamplex.run.steps import step_of

_SURELY = 0.7  # of an estimate: what a step takes at least
_NAMED = re.compile(r"[A-Z][A-Z0-9_]+: ")  # a refusal that says which setting it is about
_FOLDERS = {
    "faces": "faces", "pairs": "pairs", "prototxt": "prototxt", "init": "weights", "train": "stage1",
    "finetune": "stage2", "features": "features", "figures": "figures", "geometry": "geometry",
    "similarity": "similarity", "report": "report", "seeds": "seeds",
}  # fmt: skip
_FLAGS = ("INDEX_FLAGS", "PAIRS_FLAGS", "NETS_FLAGS", "TRAIN_FLAGS", "REPORT_FLAGS")


@dataclass(frozen=True)
class PlannedStep:
    """One planned target: its commands with their options, why it is skipped (if it is), and its costs."""

    target: str
    commands: tuple[Command, ...]
    options: tuple[argparse.Namespace, ...]
    skipped: str
    cost: Cost
    iterations: tuple[int, int] = (0, 0)  # of a training: from, to


@dataclass
class Plan:
    """What is known of a planned run; ``steps`` is empty if the settings are too wrong to plan it."""

    settings: RunSettings
    targets: list[str]
    refusals: list[str] = field(default_factory=list)
    corpus: Corpus | None = None
    nets: NetOptions | None = None
    steps: list[PlannedStep] = field(default_factory=list)

    @contextmanager
    def refusing(self, setting: str = "", flags_of: str = "") -> Iterator[None]:
        """Collect an error raised inside as a refusal; ``setting`` names its setting if the text does not."""
        try:
            yield
        except SiamplexError as error:
            text = in_settings(str(error), flags_of)
            named = f"{setting}: {text}" if setting and not _NAMED.match(text) else text
            if named not in self.refusals:
                self.refusals.append(named)

    @property
    def disk(self) -> int:
        """Bytes that the remaining steps need, temporary files included."""
        to_come = [s.cost for s in self.steps if not s.skipped]
        return sum(c.disk for c in to_come) + max((c.passing for c in to_come), default=0)

    @property
    def memory(self) -> int:
        """The peak memory of the remaining steps, in bytes."""
        return max((s.cost.memory for s in self.steps if not s.skipped), default=0)


def examine(settings: RunSettings, targets: Sequence[str], parser: argparse.ArgumentParser) -> Plan:
    """Check everything that can be known beforehand; writes nothing."""
    plan = Plan(settings, wanted(targets))
    _Examiner(plan, parser).run()
    return plan


class _Examiner:
    """Goes through a run's settings in the order of its steps; keeps what later checks need."""

    def __init__(self, plan: Plan, parser: argparse.ArgumentParser) -> None:
        self._plan, self._parser, self._s = plan, parser, plan.settings
        self._read: dict[str, list[tuple[Command, argparse.Namespace]]] = {}

    def run(self) -> None:
        plan, s = self._plan, self._s
        with plan.refusing():
            checks.check_names(s)
        if plan.refusals:
            return  # a folder of such a name is not looked into
        with plan.refusing():
            checks.check_folders(s.out, [_FOLDERS[t] for t in plan.targets if t in _FOLDERS])
        self._pipeline = Pipeline(s, self._flags())
        self._read_commands()
        self._check_corpus()
        self._check_nets()
        self._check_start()
        self._check_training()
        self._check_analyses()
        self._steps()

    def _flags(self) -> dict[str, tuple[str, ...]]:
        found = {}
        for name in _FLAGS:
            with self._plan.refusing(name):
                try:
                    found[name] = split_flags(self._s[name])
                except ValueError as error:
                    raise UsageError(f"{name}: expected options, found {error}") from None
        return found

    def _read_commands(self) -> None:
        whole = True
        for command in self._pipeline.commands(self._plan.targets):
            with self._plan.refusing():
                self._read.setdefault(command.target, []).append((command, read(self._parser, command)))
                continue
            whole = False
        self._whole = whole

    def _options(self, target: str) -> argparse.Namespace | None:
        """The options of a target's first command, where it is part of the plan and can be read."""
        found = self._read.get(target)
        return found[0][1] if found else None

    def _check_corpus(self) -> None:
        plan, s = self._plan, self._s
        actors, listed, pairs = self._options("faces"), self._options("index"), self._options("pairs")
        own_faces = Path(s["FACES"]) if s["FACES"] else None
        index = None
        if not own_faces:
            with plan.refusing("OUT"):
                check_target(s.out / "faces")
        if own_faces or actors:
            with plan.refusing("FACES" if own_faces else "ACTORS"):
                index = index_of(
                    own_faces, actors.actors if actors else 0, actors.seed if actors else 0, s.faces,
                    getattr(listed, "layout", None), getattr(listed, "emotions", None),
                )  # fmt: skip
        if pairs is None:
            return
        if not 8 <= pairs.size <= MAX_SIZE:
            with plan.refusing():
                raise UsageError(f"SIZE: expected 8 to {MAX_SIZE} pixels, found {pairs.size}")
        elif index is not None:
            options = PairOptions(fractions=tuple(pairs.fractions), balance=pairs.balance, seed=pairs.seed,
                                  count=pairs.count)  # fmt: skip
            with plan.refusing("FACES" if own_faces else "ACTORS", "PAIRS_FLAGS"):
                plan.corpus = corpus_of(index, options, pairs.split, s.out / "pairs")

    def _check_nets(self) -> None:
        plan, nets, pairs = self._plan, self._options("prototxt"), self._options("pairs")
        if pairs is None:
            return
        if nets is None:
            self._guess_nets(pairs)
            return
        images = len(plan.corpus.index) if plan.corpus else nets.images
        val = plan.corpus.pairs.get("val", 0) if plan.corpus else 0
        with plan.refusing(flags_of="NETS_FLAGS"):
            b, g, r = pairs.mean
            plan.nets = options_of(nets, images, pairs.size, val, (b, g, r), pairs.scale)
        if nets.seed < 0:
            with plan.refusing():
                raise UsageError(f"SEED: expected 0 or more (Caffe draws one for what is below), found {nets.seed}")
        if plan.nets:
            with plan.refusing():
                checks.check_dimensions(plan.nets.arch, plan.targets)

    def _guess_nets(self, pairs: argparse.Namespace) -> None:
        """The nets that would follow a plan that stops before them: for estimates of costs only, nothing is refused."""
        try:
            (command,) = [c for c in self._pipeline.commands(["prototxt"]) if c.target == "prototxt"]
            nets = read(self._parser, command)
            self._plan.nets = options_of(nets, nets.images, pairs.size, 0, tuple(pairs.mean), pairs.scale)
        except (SiamplexError, ValueError):
            return

    def _check_start(self) -> None:
        plan = self._plan
        if "init" not in plan.targets:
            return
        drawn = plan.corpus.drawn if plan.corpus else not self._s["FACES"]
        with plan.refusing("ALEXNET"):
            checks.check_weights(self._s, drawn, plan.nets.arch if plan.nets else None)

    def _check_training(self) -> None:
        plan, s, nets = self._plan, self._s, self._plan.nets
        train = self._options("train")
        if "init" in plan.targets:
            processes = 1
            with plan.refusing():
                sizes = [nets.batch_size, nets.stage2_batch_size] if nets and "train" in plan.targets else []
                processes = checks.check_processes(s, [] if s.by_caffe else sizes)
            with plan.refusing():
                checks.check_device(s, processes)
        if "train" in plan.targets and nets:
            with plan.refusing():
                checks.check_shown(s, nets.stage1.max_iter, nets.stage1.snapshot)
        if train is None:
            return
        with plan.refusing():
            self._check_engine(train)
        if nets is None:
            return
        if s.on("EARLY_STOP") and plan.corpus and "val" not in plan.corpus.pairs:
            with plan.refusing():
                raise UsageError("EARLY_STOP: expected subjects to validate on, found none (PAIRS_FLAGS)")
        last = nets.stage1.max_iter
        has_val = plan.corpus is None or "val" in plan.corpus.pairs
        for stage, target in ((1, "train"), (2, "finetune")):
            options = self._options(target)
            if options:
                with plan.refusing():
                    checks.check_course(s, self._pipeline.prefix(stage), stage, nets, options, has_val)
        if "features" in plan.targets and not s.on("EARLY_STOP") and not plan.refusals:
            for stage, wanted_, setting in (
                (1, [int(n) for n in self._pipeline.panels], "SHOWN"), (1, [last], "ITERATIONS"),
                (2, [nets.stage2.max_iter], "STAGE2_ITERATIONS"),
            ):  # fmt: skip
                with plan.refusing():
                    checks.check_past(self._pipeline.prefix(stage), wanted_, s.on("OVERWRITE"), setting)

    def _check_engine(self, train: argparse.Namespace) -> None:
        from siamplex.commands.train import check_engine

        if self._s.by_caffe and self._s.on("EARLY_STOP"):
            raise UsageError("EARLY_STOP: expected ENGINE=torch for it, found ENGINE=caffe")
        try:
            check_engine(train)
        except UsageError as error:
            raise UsageError(f"TRAIN_FLAGS: {error}") from None

    def _check_analyses(self) -> None:
        plan, s = self._plan, self._s
        if plan.corpus and "init" in plan.targets:
            with plan.refusing():
                checks.check_emotions(plan.corpus, plan.targets)
        if s["HUMAN"] and "similarity" in plan.targets:
            with plan.refusing("HUMAN"):
                checks.check_people(Path(s["HUMAN"]), plan.corpus, s.out)
        seeds, report = self._options("seeds"), self._options("report")
        if seeds and seeds.seeds < 1:
            with plan.refusing():
                raise UsageError(f"SEEDS: expected at least 1, found {seeds.seeds}")
        if report and report.alexnet and not report.alexnet.exists():
            with plan.refusing("REPORT_FLAGS"):
                raise InputError(report.alexnet, "AlexNet's weights", "nothing there")

    # --- steps, and what they take

    def _steps(self) -> None:
        plan = self._plan
        if not (self._whole and plan.corpus and plan.nets):
            return
        costs = Costs(plan.settings, plan.corpus, plan.nets, self._pipeline)
        done: set[str] = set()
        for target in plan.targets:
            entries = self._read.get(target, [])
            if not entries:
                done.add(target)
                continue
            skipped, span = self._standing(target, entries, done)
            if skipped:
                done.add(target)
            commands, options = zip(*entries, strict=True)
            plan.steps.append(PlannedStep(target, commands, options, skipped, costs.of(target, span), span))
        if not plan.refusals:
            with plan.refusing():
                checks.check_disk(plan.settings.out, plan.disk)
            with plan.refusing():
                self._check_memory()

    def _check_memory(self) -> None:
        plan = self._plan
        try:
            there = machine_memory()
        except (OSError, ValueError):
            return
        step = max((s for s in plan.steps if not s.skipped), key=lambda s: s.cost.memory, default=None)
        if step and step.cost.memory * _SURELY > there:
            batch = {"train": "BATCH", "finetune": "STAGE2_BATCH"}.get(step.target)
            advice = f" (a smaller {batch} takes less)" if batch else ""
            raise UsageError(
                f"memory: {step.target} takes about {in_bytes(step.cost.memory)}, expected that much, found "
                f"{in_bytes(there)}{advice}"
            )

    def _standing(
        self, target: str, entries: Sequence[tuple[Command, argparse.Namespace]], done: set[str]
    ) -> tuple[str, tuple[int, int]]:
        """Why a target will be skipped (empty: it will not); for a training also its first and last iteration."""
        needs_done = all(need in done for need in NEEDS[target])
        if target in ("train", "finetune"):
            return self._trained(1 if target == "train" else 2, needs_done)
        if target == "prototxt":
            return ("as they should be" if needs_done and self._nets_written() else ""), (0, 0)
        stamped = all(getattr(options, "stamp", None) for _, options in entries)
        if needs_done and stamped and all(step_of(options).unchanged() for _, options in entries):
            return "unchanged", (0, 0)
        return "", (0, 0)

    def _trained(self, stage: int, needs_done: bool) -> tuple[str, tuple[int, int]]:
        nets, prefix = self._plan.nets, self._pipeline.prefix(stage)
        assert nets
        last = (nets.stage1 if stage == 1 else nets.stage2).max_iter
        if self._s.on("OVERWRITE") or not standing(prefix):
            return "", (0, last)
        try:
            there = own(prefix)
        except InputError:
            there = []
        first = min(there[-1], last) if there else 0
        if needs_done and first >= last:
            return f"stands at iteration {first}", (first, last)
        return "", (first, last)

    def _nets_written(self) -> bool:
        nets, corpus = self._plan.nets, self._plan.corpus
        assert nets and corpus
        out = self._s["OUT"]
        where = RunLayout(out, f"{out}/prototxt", f"{out}/solvers", "val" in corpus.pairs)
        try:
            return all(Path(p).read_text(encoding="utf-8") == text for p, text in generate(nets, where).items())
        except (OSError, UnicodeDecodeError):
            return False
