"""The commands that Make runs for a target, in order and word for word; a test compares them with ``make -n``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from siamplex.engine.training.result import Result
from siamplex.errors import InputError
from siamplex.plan.settings import RunSettings

NEEDS = {
    "faces": (), "index": ("faces",), "pairs": ("index",), "prototxt": ("pairs",), "init": ("prototxt",),
    "train": ("init",), "finetune": ("train",), "features": ("finetune",), "figures": ("features",),
    "geometry": ("features",), "similarity": ("features",), "report": ("figures", "geometry", "similarity"),
    "seeds": ("init",),
}  # fmt: skip
TARGETS = tuple(NEEDS)


@dataclass(frozen=True)
class Command:
    """One command of ``target``: its words, and between ``head`` and ``tail`` those of a setting such as NETS_FLAGS."""

    target: str
    head: tuple[str, ...]
    tail: tuple[str, ...] = ()
    flags_of: str = ""
    flags: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All words, the subcommand first."""
        return (*self.head, *self.flags, *self.tail)

    @property
    def bare(self) -> tuple[str, ...]:
        """The words without the user's further options."""
        return (*self.head, *self.tail)


def wanted(targets: Iterable[str]) -> list[str]:
    """The targets and all they need, in the order in which Make comes to them."""
    found: list[str] = []
    for target in targets:
        found += [t for t in (*wanted(NEEDS[target]), target) if t not in found]
    return found


def split_flags(text: str) -> tuple[str, ...]:
    """The words of a setting of further options, as the shell takes them apart.  Raises ValueError."""
    return tuple(shlex.split(text))


class Pipeline:
    """Builds the commands of a run; ``flags`` has the words of each ``..._FLAGS`` setting."""

    def __init__(self, settings: RunSettings, flags: dict[str, tuple[str, ...]]) -> None:
        self._s, self._flags, self._out = settings, flags, settings["OUT"]
        self.results = {stage: self._result(stage) for stage in (1, 2)}

    def commands(self, targets: Iterable[str]) -> list[Command]:
        """Those of the targets and of all they need."""
        return [command for target in wanted(targets) for command in getattr(self, f"_{target}")()]

    def prefix(self, stage: int) -> str:
        """Where a stage's snapshots go."""
        return f"{self._out}/stage{stage}/snap"

    @property
    def panels(self) -> list[str]:
        """Iterations of stage 1 that Figures 3 and 4 show, but for 0."""
        shown = self._s["SHOWN"].split()
        if self._s.on("EARLY_STOP"):
            last = self.results[1]
            shown = [n for n in shown if n.isdecimal() and last.isdecimal() and int(n) < int(last)] + [last]
        return [n for n in shown if n != "0"]

    def _result(self, stage: int) -> str:
        """The iteration that a stage results in; with early stopping known only after training."""
        asked = self._s["ITERATIONS" if stage == 1 else "STAGE2_ITERATIONS"]
        if not self._s.on("EARLY_STOP"):
            return asked
        try:
            known = Result.read(self.prefix(stage))
        except InputError:
            return asked
        return str(known.iteration) if known else asked

    def snapshot(self, stage: int, iteration: str) -> str:
        """A caffemodel of a stage."""
        return f"{self.prefix(stage)}_iter_{iteration}.caffemodel"

    @property
    def _init_file(self) -> str:
        return f"{self._out}/weights/init.caffemodel"

    @property
    def _deploy(self) -> str:
        return f"{self._out}/prototxt/deploy.prototxt"

    def _stamp(self, name: str) -> tuple[str, str]:
        return "--stamp", f"{self._out}/.steps/{name}.json"

    def _with_flags(self, target: str, head: Iterable[str], setting: str, tail: Iterable[str]) -> Command:
        return Command(target, tuple(head), tuple(tail), setting, self._flags.get(setting, ()))

    # --- a method for each target

    def _faces(self) -> list[Command]:
        s = self._s
        if s["FACES"]:
            return []
        words = ("faces", f"{self._out}/faces", "--actors", s["ACTORS"], "--seed", s["SEED"], *self._stamp("faces"))
        return [Command("faces", words)]

    def _index(self) -> list[Command]:
        source = self._s["FACES"] or f"{self._out}/faces"
        head = ["index", source, "--out", f"{self._out}/index.csv"]
        return [self._with_flags("index", head, "INDEX_FLAGS", self._stamp("index"))]

    def _pairs(self) -> list[Command]:
        s = self._s
        head = ["pairs", "--index", f"{self._out}/index.csv", "--out", f"{self._out}/pairs", "--layout", s["LAYOUT"]]
        head += ["--size", s["SIZE"], "--scale", s["SCALE"], "--seed", s["SEED"]]
        return [self._with_flags("pairs", head, "PAIRS_FLAGS", self._stamp("pairs"))]

    def _prototxt(self) -> list[Command]:
        s, out = self._s, self._out
        head = ["prototxt", "--pairs", f"{out}/pairs", "--run", out]
        head += ["--nets", f"{out}/prototxt", "--solvers", f"{out}/solvers"]
        for option, setting in (
            ("width", "WIDTH"), ("batch-size", "BATCH"), ("stage2-batch-size", "STAGE2_BATCH"), ("base-lr", "BASE_LR"),
            ("new-lr-mult", "NEW_LR_MULT"), ("iterations", "ITERATIONS"), ("stage2-iterations", "STAGE2_ITERATIONS"),
            ("stage2-base-lr", "STAGE2_BASE_LR"), ("snapshot", "SNAPSHOT"), ("display", "DISPLAY"),
            ("test-interval", "TEST_INTERVAL"), ("seed", "SEED"), ("device", "DEVICE"),
        ):  # fmt: skip
            head += [f"--{option}", s[setting]]
        return [self._with_flags("prototxt", head, "NETS_FLAGS", ())]

    def _start_from(self) -> list[str]:
        s, file = self._s, self._s.weights_file
        found = [] if file is None else ["--alexnet-if-there" if s.alexnet is None else "--alexnet", str(file)]
        found += ["--or-substitute"] if s.on("SUBSTITUTE") else []
        return found + (["--accept-other-weights"] if s.on("OTHER_WEIGHTS") else [])

    def _init(self) -> list[Command]:
        words = ["weights", "--deploy", self._deploy, "--out", self._init_file, "--pairs", f"{self._out}/pairs"]
        words += [*self._start_from(), "--seed", self._s["SEED"], *self._stamp("init")]
        return [Command("init", tuple(words))]

    def _training(self, target: str, stage: int, start: str) -> Command:
        s = self._s
        head = ["train", "--engine", s["ENGINE"], "--device", s["DEVICE"], "--resume"]
        embedded = s["ENGINE"] == "torch"
        head += ["--lean-snapshots", "--keep-states", "1"] if embedded else []
        head += ["--early-stop", "--patience", s["PATIENCE"]] if s.on("EARLY_STOP") else []
        head += ["--overwrite"] if s.on("OVERWRITE") else []
        table = f",{self._out}/pairs/images.caffemodel" if s["LAYOUT"] == "indexed" else ""
        tail = ["--solver", f"{self._out}/solvers/stage{stage}_{s['LAYOUT']}.prototxt", "--weights", start + table]
        if embedded and stage == 1:
            tail += ["--snapshot-at", ",".join(s["SHOWN"].split())]
        return self._with_flags(target, head, "TRAIN_FLAGS", tail)

    def _train(self) -> list[Command]:
        return [self._training("train", 1, self._init_file)]

    def _finetune(self) -> list[Command]:
        return [self._training("finetune", 2, self.snapshot(1, self.results[1]))]

    def _extract(self, weights: str, name: str, stamp: str) -> Command:
        s = self._s
        words = ["extract", "--pairs", f"{self._out}/pairs", "--deploy", self._deploy, "--engine", s["ENGINE"]]
        words += ["--device", s["DEVICE"].split(",")[0], "--weights", weights]
        words += ["--out", f"{self._out}/features/{name}.npz", *self._stamp(stamp)]
        return Command("features", tuple(words))

    def _features(self) -> list[Command]:
        return [
            self._extract(self._init_file, "stage1_iter_0", "features1_0"),
            *(self._extract(self.snapshot(1, n), f"stage1_iter_{n}", f"features1_{n}") for n in self.panels),
            self._extract(self.snapshot(2, self.results[2]), "stage2", "features2"),
        ]

    def _feature(self, name: str) -> str:
        return f"{self._out}/features/{name}.npz"

    def _figures(self) -> list[Command]:
        words = ["figures", "--stage1", *(self._feature(f"stage1_iter_{n}") for n in ("0", *self.panels))]
        words += ["--stage2", self._feature("stage2"), "--losses"]
        words += [f"{self.prefix(stage)}_losses.csv" for stage in (1, 2)]
        return [Command("figures", (*words, "--out", f"{self._out}/figures", *self._stamp("figures")))]

    def _geometry(self) -> list[Command]:
        last = ("0", *self.panels)[-1]
        pairs = ((f"stage1_iter_{last}", "stage1"), ("stage2", "stage2"))
        return [
            Command("geometry", ("geometry", self._feature(name), "--out", f"{self._out}/geometry/{stage}.json"))
            for name, stage in pairs
        ]

    @property
    def _embedded(self) -> str:
        """Where the embedded engine looks into layers: its torch may not know Caffe's GPU."""
        return "cpu" if self._s.by_caffe else self._s["DEVICE"]

    def _similarity(self) -> list[Command]:
        s, out = self._s, self._out
        words = ["similarity", self._feature("stage2"), "--weights", self.snapshot(2, self.results[2])]
        words += ["--deploy", self._deploy, "--pairs", f"{out}/pairs", "--device", self._embedded]
        words += ["--human", s["HUMAN"]] if s["HUMAN"] else []
        words += ["--out", f"{out}/similarity/stage2.json", *self._stamp("similarity")]
        found = [Command("similarity", tuple(words))]
        if s["HUMAN"]:
            mds = ("mds", s["HUMAN"], "--embedding", self._feature("stage2"), "--out", f"{out}/maps/people")
            found.append(Command("similarity", mds))
        return found

    def _report(self) -> list[Command]:
        return [self._with_flags("report", ["report", self._out], "REPORT_FLAGS", ())]

    def _seeds(self) -> list[Command]:
        words = ["seeds", self._out, "--seeds", self._s["SEEDS"], "--device", self._embedded, *self._start_from()]
        return [Command("seeds", tuple(words))]
