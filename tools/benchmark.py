"""Measure siamplex against a plain PyTorch port and, where one is given, a real caffe binary.

Everything runs in one go on the same machine and data (504 and 1,158 drawn faces, the paper's nets), so that
the ratios hold even where the times do not.  Prints a table and writes it as JSON.

    python tools/benchmark.py --out benchmark.json [--alexnet FILE] [--caffe PATH] [--quick] [--rounds N]

Photographs keep more units active than drawn faces do.  So stage 1 is also measured with all units taken for
active, which computes the same, and with one core kept busy by another process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from siamplex.cli import main as siamplex
from siamplex.corpus.emotions import EMOTIONS
from siamplex.corpus.index import read_index
from siamplex.engine.fast import dead_units, products
from siamplex.engine.fast.gram import GramWeight
from siamplex.engine.fast.memory import keep_freed_memory
from siamplex.engine.net.data_source import DataSource
from siamplex.engine.training.occupied import REMOVE
from siamplex.engine.training.solver import Solver, TrainOptions
from siamplex.errors import SiamplexError
from siamplex.multiverse import store
from siamplex.pairs.build import load_images
from siamplex.pairs.drawing import draw_pairs
from siamplex.pairs.pairing import Pairs, all_pairs
from siamplex.pairs.store import stacked_bytes, write_indexed, write_stacked
from siamplex.plan.speed import cores
from siamplex.run.durable import write_text

BATCH = 32  # the batch of the rows that need none other
BATCHES = (32, 128)
CORPORA = {".": 43, "large": 99}  # actors by folder: 504 and 1,158 faces
STAGE1 = 5000  # iterations, as in the paper
WEIGHTS = "run/weights/init.caffemodel,run/pairs/images.caffemodel"


@dataclass
class Row:
    """One line of the table; ``ratio`` is peer / ours (or ours against a limit), ``goal`` its bound."""

    work: str
    ours: float
    peer: float
    unit: str
    ratio: float
    goal: str
    met: bool


def shown(work: str, ours: float, peer: float, unit: str) -> Row:
    """A row with the ratio ours / peer and no goal."""
    return Row(work, ours, peer, unit, ours / peer, "", True)


def at_least(work: str, ours: float, peer: float, unit: str, goal: float) -> Row:
    """A row whose ratio peer / ours should reach ``goal``."""
    ratio = peer / ours
    return Row(work, ours, peer, unit, ratio, f">= {goal:g}", ratio >= goal)


def at_most(work: str, ours: float, limit: float, unit: str, goal: float) -> Row:
    """A row whose ratio ours / limit should stay under ``goal``."""
    ratio = ours / limit
    return Row(work, ours, limit, unit, ratio, f"<= {goal:g}", ratio <= goal)


# --- the plain port


class PlainTower(nn.Module):
    """The tower as one would write it in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.fc4, self.fc5, self.fc6 = nn.Linear(64896, 1024), nn.Linear(1024, 256), nn.Linear(256, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 227, 227) -> (N, 2)."""
        x = functional.local_response_norm(functional.relu(self.conv1(x)), 5, 1e-4, 0.75, 1.0)
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        x = functional.local_response_norm(functional.relu(self.conv2(x)), 5, 1e-4, 0.75, 1.0)
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        x = functional.relu(self.conv3(x)).flatten(1)
        x = functional.dropout(functional.relu(self.fc4(x)), 0.5)
        x = functional.dropout(functional.relu(self.fc5(x)), 0.5)
        embedding: torch.Tensor = self.fc6(x)
        return embedding


def plain_iteration(frozen: bool, batch: int) -> Callable[[], None]:
    """One training iteration of the plain port on a batch of pairs."""
    tower = PlainTower()
    for layer in (tower.conv1, tower.conv2, tower.conv3):
        layer.requires_grad_(not frozen)
    moving = [p for p in tower.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(moving, lr=1e-6, momentum=0.9, weight_decay=5e-4)
    a, b = torch.randn(2, batch, 3, 227, 227)
    same = torch.arange(batch) % 5 == 0

    def step() -> None:
        optimizer.zero_grad()
        squared = (tower(a) - tower(b)).square().sum(1)
        push = (1 - (squared + 1e-12).sqrt()).clamp(min=0).square()
        loss = torch.where(same, squared, push).sum() / (2 * batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def seconds(step: Callable[[], Any], count: int) -> list[float]:
    """What each of some steps took."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def seconds_each(step: Callable[[], Any], warm: int, count: int) -> float:
    """Median time of a step."""
    seconds(step, warm)
    return median(seconds(step, count))


# --- children: one process each, so that peak memory is its own


def child_ours(
    stage: int, iterations: int, batch: int = BATCH, layout: str = "indexed", active: bool = False
) -> dict[str, float]:
    """Set up and run a stage; times and peak memory.

    Of stage 1 ``each`` is the mean of all iterations from the first on: they grow quicker as units fall silent.
    ``active`` takes all units for active, whatever they are: the numbers are the same.
    """
    keep_freed_memory()
    if active:
        dead_units.WORTH_IT, products._FEW = 0.0, -1.0
    start = time.perf_counter()
    weights = tuple(Path(w) for w in WEIGHTS.split(",")[: 2 if layout == "indexed" else 1])
    prefix = f"bench/stage{stage}"
    options = TrainOptions(weights=weights, lean=True, quiet=True, snapshot_prefix=prefix, existing=REMOVE)
    solver = Solver(f"solvers{batch}/stage{stage}_{layout}.prototxt", options)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    solver.take_plan()
    features = time.perf_counter() - start
    if stage == 1:
        each = fmean(seconds(solver.step, iterations))
    else:
        each = seconds_each(solver.step, min(20, iterations // 5), iterations)
    measured = {"setup": setup, "features": features, "each": each}
    if solver.plan:
        (weight,) = solver.plan.keepers.values()
        assert isinstance(weight, GramWeight)
        measured |= {"units": float(weight.width if weight.units is None else len(weight.units))}
        measured |= {"images": float(len(weight.table)), "trained": float(len(weight.trained))}
    start = time.perf_counter()
    solver.snapshot()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
    return measured | {"snapshot": time.perf_counter() - start, "peak": peak}


def child_stacked(stage: int, iterations: int) -> dict[str, float]:
    """The same from a stacked store, and reading a batch of it."""
    measured = child_ours(stage, iterations, layout="stacked")
    source = DataSource(Path("run/pairs/train_stacked_lmdb"))
    measured["reading"] = seconds_each(lambda: source._read(0, BATCH), 2, 14)  # with nothing read ahead
    return measured


def child_plain(stage: int, iterations: int, batch: int = BATCH) -> dict[str, float]:
    """The plain port's time for an iteration."""
    return {"each": seconds_each(plain_iteration(stage == 1, batch), 1, iterations)}


CHILDREN = {"ours": child_ours, "stacked": child_stacked, "plain": child_plain}


def in_child(
    kind: str, stage: int, iterations: int, folder: str = ".", busy: bool = False, **more: Any
) -> dict[str, float]:
    """Run a child process in a corpus' folder and read what it measured; ``busy`` keeps one core from it."""
    job = json.dumps({"stage": stage, "iterations": iterations, **more})
    with busy_core() if busy else nullcontext():
        answer = subprocess.run(
            [sys.executable, __file__, "--child", kind, job], cwd=folder, capture_output=True, text=True, check=False
        )
    if answer.returncode:
        raise SystemExit(f"benchmark: {kind} of stage {stage} failed:\n{answer.stderr}")
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process that never rests."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


def fastest(sides: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, dict[str, float]]:
    """Measure all sides in turn, some rounds; keep each side's fastest by ``each``.

    On a shared host the cores of a process lie near to or far from each other, by the hypervisor's choice and
    for as long as it pleases; short iterations take half as long again when they are far.  Every side gets
    as many tries, spread over the same minutes.  ``slowest`` is the slowest try's time and ``peak`` the largest.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure_once in sides.items():
            runs[name].append(measure_once())
    kept = {}
    for name, tries in runs.items():
        tries.sort(key=lambda run: run["each"])
        kept[name] = {**tries[0], "slowest": tries[-1]["each"]}
        if "peak" in tries[0]:
            kept[name]["peak"] = max(run["peak"] for run in tries)
    return kept


def caffe_iteration(binary: str, stage: int, iterations: int, batch: int = BATCH) -> dict[str, float]:
    """Seconds an iteration of real Caffe takes on the CPU, from its own log."""
    text = Path(f"solvers{batch}/stage{stage}_indexed.prototxt").read_text(encoding="utf-8")
    for field, value in (("max_iter", iterations), ("display", 1), ("snapshot", 0)):
        text = re.sub(rf"{field}: \d+", f"{field}: {value}", text)
    text = re.sub(r"test_\w+: \w+\n", "", text) + "snapshot_after_train: false\n"
    Path("caffe_solver.prototxt").write_text(text, encoding="utf-8")
    arguments = [binary, "train", "-solver=caffe_solver.prototxt", f"-weights={WEIGHTS}"]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
    # by the clock at the head of each line: not every release prints what an iteration took
    clocks = re.findall(r"^I\d+ (\d+):(\d+):([\d.]+) .*\] Iteration \d+.*, lr = ", answer.stdout + answer.stderr, re.M)
    at = [3600 * int(hours) + 60 * int(minutes) + float(seconds) for hours, minutes, seconds in clocks]
    times = sorted((later - earlier) % 86400 for earlier, later in pairwise(at))
    if answer.returncode or len(times) < 2:
        raise SystemExit(f"benchmark: {binary} printed no times:\n{answer.stderr[-2000:]}")
    return {"each": times[len(times) // 2]}


# --- the table


def gemm_rate() -> float:
    """Measured FLOP/s of a large product."""
    a, b = torch.randn(2, 3072, 3072)
    return 2 * 3072**3 / min(seconds(lambda: a @ b, 7))


def stage1_operations(batch: int, trained: float) -> float:
    """What stage 1 multiplies and adds at least with all units active, for so many images trained on.

    The change of fc4's outputs for each of them by each distinct image of a batch, and fc5's three products.
    """
    distinct = trained * (1 - math.exp(-2 * batch / trained))
    return 2 * 1024 * (trained * distinct + 3 * 2 * batch * 256)


def stage2_operations(batch: int) -> float:
    """What stage 2 multiplies and adds: forward, weight gradient, and (but for conv1) the gradient passed down."""
    conv1 = 96 * 55 * 55 * 3 * 121
    rest = 256 * 27 * 27 * 48 * 25 + 384 * 13 * 13 * 256 * 9 + 1024 * 64896 + 256 * 1024 + 2 * 256
    return 2 * batch * 2 * (2 * conv1 + 3 * rest)


def prepare(alexnet: Path | None) -> None:
    """Draw the faces and write pairs, nets and starting weights, by siamplex's own commands."""
    home = Path.cwd()
    start = ["--alexnet", str(alexnet)] if alexnet else ["--or-substitute"]
    for folder, actors in CORPORA.items():
        (home / folder).mkdir(exist_ok=True)
        os.chdir(home / folder)
        for command in (
            ["faces", "faces", "--actors", str(actors)],
            ["index", "faces"],
            ["pairs"],
            *(_nets(batch) for batch in BATCHES),
            ["weights", "--deploy", f"nets{BATCH}/deploy.prototxt", *start],
        ):
            if siamplex(command):
                raise SystemExit(f"benchmark: siamplex {command[0]} failed")
    os.chdir(home)


def _nets(batch: int) -> list[str]:
    sizes = ["--batch-size", str(batch), "--stage2-batch-size", str(batch)]
    return ["prototxt", "--pairs", "run/pairs", *sizes, "--nets", f"nets{batch}", "--solvers", f"solvers{batch}"]


def pair_store_rows() -> list[Row]:
    """Size and time of the indexed store; writes a little of the stacked one."""
    index = read_index(Path("run/index.csv"))
    emotions = [entry.emotion for entry in index.entries]
    start = time.perf_counter()
    pairs = all_pairs(range(len(index)), emotions, 1, "all")
    stored = write_indexed(Path("bench/indexed_lmdb"), pairs)
    took = time.perf_counter() - start
    stacked = float(stacked_bytes(len(pairs), 227))
    drawn = drawn_rows()
    few = Pairs(pairs.first[:512], pairs.second[:512], pairs.same[:512])
    images = load_images(index, 227, "stretch")
    for split in ("train", "val"):
        write_stacked(Path(f"run/pairs/{split}_stacked_lmdb"), few, images)
    return [
        at_least(f"pair store of {len(pairs):,} pairs", stored.bytes / 1e6, stacked / 1e6, "MB", 1000),
        at_most("writing it, against 5 s", took, 5.0, "s", 1),
        *drawn,
    ]


def drawn_rows() -> list[Row]:
    """Pairs drawn of 8,000 and 20,000 images (siamplex pairs --pairs): time, bytes, and that both grow linearly."""
    rows = []
    for images in (8_000, 20_000):
        emotions = [sorted(EMOTIONS)[i % len(EMOTIONS)] for i in range(images)]
        took, size = {}, {}
        for count in (500_000, 2_000_000):
            target = Path(f"bench/drawn_{images}_{count}_lmdb")

            def once(target: Path = target, count: int = count, emotions: list[str] = emotions) -> int:
                return write_indexed(target, draw_pairs(range(len(emotions)), emotions, count, 1, "train")).bytes

            took[count] = min(seconds(once, 3))  # the disk is others' too
            size[count] = once()
        (few, many), of = took, f"of {images:,} images"
        rows += [
            at_most(f"drawing and writing {many:,} pairs {of}, against 20 s", took[many], 20.0, "s", 1),
            at_most("... against four times a quarter of them", took[many], 4 * took[few], "s", 1.5),
            at_most("... their size, the same", size[many] / 1e6, 4 * size[few] / 1e6, "MB", 1.05),
        ]
    return rows


def outputs_row() -> Row:
    """Geometry and figures for all images, from the starting weights' embedding."""
    siamplex(
        [
            "extract",
            "--deploy",
            f"nets{BATCH}/deploy.prototxt",
            "--weights",
            "run/weights/init.caffemodel",
            "--out",
            "bench/e.npz",
        ]
    )
    start = time.perf_counter()
    siamplex(["geometry", "bench/e.npz"])
    siamplex(["figures", "--stage1", *["bench/e.npz"] * 5, "--stage2", "bench/e.npz", "--out", "bench/figures"])
    return at_most("geometry and figures, against 10 s", time.perf_counter() - start, 10.0, "s", 1)


def measure(caffe: str | None, quick: bool, rounds: int) -> tuple[list[Row], dict[str, float]]:
    """All rows, and what else was measured."""
    rows = pair_store_rows()
    few, long = (2, 400) if quick else (4, STAGE1)
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "ours 1": partial(in_child, "ours", 1, long),
        "plain 1": partial(in_child, "plain", 1, few),
        "ours 2": partial(in_child, "ours", 2, few * 4),
        "plain 2": partial(in_child, "plain", 2, few),
    }
    slow: dict[str, Callable[[], dict[str, float]]] = {
        **regime_sides(quick),
        "plain 1 128": partial(in_child, "plain", 1, 2, batch=128),
        "ours 2 128": partial(in_child, "ours", 2, few + 1, batch=128),
        "plain 2 128": partial(in_child, "plain", 2, 2, batch=128),
    }
    if caffe:
        sides |= {f"Caffe {stage}": partial(caffe_iteration, caffe, stage, few + 1) for stage in (1, 2)}
        slow |= {f"Caffe {stage} 128": partial(caffe_iteration, caffe, stage, 3, 128) for stage in (1, 2)}
    best = fastest(sides, rounds) | fastest(slow, min(rounds, 2))
    stacked = in_child("stacked", 1, 400 if quick else 2000)
    rate = gemm_rate()
    one = best["ours 1"]
    whole = one["setup"] + one["features"] + STAGE1 * one["each"] + one["snapshot"]
    peers = [("the plain port", "plain", 3.0)] + ([("real Caffe", "Caffe", 2.0)] if caffe else [])
    for name, side, goal in peers:
        peer = best[f"{side} 1"]["each"]
        rows += [
            at_least(f"stage 1, an iteration, {name}", one["each"] * 1e3, peer * 1e3, "ms", 500),
            at_least(f"stage 1, {STAGE1} iterations with all, {name}", whole, STAGE1 * peer, "s", 100),
        ]
        for end, pairs in (("", ""), (" 128", " of 128 pairs")):
            two = best[f"ours 2{end}"]["each"]
            rows.append(
                at_least(f"stage 2, an iteration{pairs}, {name}", two, best[f"{side} 2{end}"]["each"], "s", goal)
            )
    at_rate = f"the arithmetic at {rate / 1e9:.0f} GFLOP/s"
    rows += [
        at_most(f"stage 2, {at_rate}", best["ours 2"]["each"], stage2_operations(BATCH) / rate, "s", 1.7),
        at_most("... of 128 pairs, the same", best["ours 2 128"]["each"], stage2_operations(128) / rate, "s", 1.7),
        *regime_rows(best, peers, rate),
        at_most("stage 1, peak memory, against 2 GiB", one["peak"], 2.0, "GiB", 1),
        at_most("stage 2, peak memory, against 3 GiB", best["ours 2"]["peak"], 3.0, "GiB", 1),
        shown("... of 128 pairs", best["ours 2 128"]["peak"], 3.0, "GiB"),
        at_most("reading 32 stacked pairs, against stage 1", stacked["reading"] * 1e3, stacked["each"] * 1e3, "ms", 1),
        outputs_row(),
    ]
    return rows, {
        "gflops": rate / 1e9,
        **{f"{side} {k}": v for side, measured in best.items() for k, v in measured.items()},
        **{f"stacked 1 {k}": v for k, v in stacked.items()},
    }


# --- stage 1 as photographs have it


def regime_sides(quick: bool) -> dict[str, Callable[[], dict[str, float]]]:
    """Stage 1 of both corpora and batches: as units die, all active, and all active beside a busy process."""
    sides: dict[str, Callable[[], dict[str, float]]] = {}
    for folder in CORPORA:
        for batch in BATCHES:
            ours = partial(in_child, "ours", 1, folder=folder, batch=batch)
            sides[f"active {folder} {batch}"] = partial(ours, iterations=200 if quick else 500, active=True)
            sides[f"busy {folder} {batch}"] = partial(ours, iterations=200 if quick else 500, active=True, busy=True)
        sides[f"dying {folder} 128"] = partial(
            in_child, "ours", 1, folder=folder, batch=128, iterations=200 if quick else 2000
        )
    return sides


def regime_rows(best: dict[str, dict[str, float]], peers: list[tuple[str, str, float]], rate: float) -> list[Row]:
    """What :func:`regime_sides` measured, against the peers, the arithmetic and itself on idle cores."""
    rows = []
    for folder in CORPORA:
        for batch in BATCHES:
            ours = best[f"active {folder} {batch}"]
            each, what = ours["each"] * 1e3, f"{ours['images']:.0f} images, {batch} pairs"
            end = "" if batch == BATCH else f" {batch}"
            for name, side, _ in peers:
                peer = best[f"{side} 1{end}"]["each"] * 1e3
                line = f"{what}, all units active, {name}"
                rows.append(
                    at_least(line, each, peer, "ms", 500)
                    if batch == 128
                    else Row(line, each, peer, "ms", peer / each, "", True)
                )
            limit = stage1_operations(batch, ours["trained"]) / rate * 1e3
            rows.append(shown("... the arithmetic at the same rate", each, limit, "ms"))
            busy = best[f"busy {folder} {batch}"]["each"] * 1e3
            rows.append(at_most("... one core busy, against idle cores", busy, each, "ms", 2.2))
        dying = best[f"dying {folder} 128"]["each"] * 1e3
        rows.append(shown("... as units die, against all active", dying, each, "ms"))
    return rows


# --- the multiverse


GRID = """seeds = [1, 2]
folds = 10
[dimensions]
scale = ["1/256"]
batch = [128]
iterations = [{iterations}]
"""


MANY = 150  # cells of a multiverse as docs/multiverse.md has one


def multiverse_rows(alexnet: Path | None, quick: bool, rate: float) -> tuple[list[Row], dict[str, float]]:
    """Cells of 128 pairs, two for each core, all that the command does but for the features, which come first.

    What the command takes with nothing left to train (its start, outcomes, baselines, figures) is measured too: it
    comes once, however many cells there are.
    """
    iterations, cells = 400 if quick else STAGE1, 2 * cores()
    Path("grid.toml").write_text(GRID.format(iterations=iterations), encoding="utf-8")
    nets = ["prototxt", "--pairs", "run/pairs", "--nets", "run/prototxt", "--solvers", "run/solvers"]
    start = ["--alexnet", str(alexnet)] if alexnet else ["--or-substitute"]
    command = [sys.executable, "-m", "siamplex", "multiverse", "run", "--grid", "grid.toml", *start]
    if siamplex(nets):
        raise SystemExit("benchmark: siamplex prototxt failed")

    def took(count: int) -> float:
        begun = time.perf_counter()
        subprocess.run([*command, "--cells", str(count)], check=True, capture_output=True)
        return time.perf_counter() - begun

    first = took(cores())
    whole = took(cores() + cells)
    once = took(cores() + cells)
    own = fmean(cell.learning.seconds for cell in store.read(Path("run")))
    # of fewer iterations the start is the same, and the rest is that much shorter
    whole += cells * own / cores() * STAGE1 / iterations * (1 - iterations / STAGE1)
    trained = len(read_index(Path("run/index.csv"))) * 0.8
    limit = stage1_operations(128, trained) / rate * STAGE1
    many = MANY / cells * (whole - once) + once
    rows = [
        at_most(f"multiverse, {cells} cells of 128 pairs, against 150 an hour", whole, cells * 24, "s", 1),
        at_most("... their training, against the arithmetic", whole - once, cells * limit, "s", 1.3),
        at_most(f"... {MANY} cells at that pace and all that comes once, the same", many, MANY * limit, "s", 1.3),
    ]
    return rows, {"multiverse first": first, "multiverse whole": whole, "multiverse once": once, "multiverse cell": own}


def show(rows: list[Row]) -> str:
    """The table as text."""
    lines = [f"{'work':<58}{'ours':>12}{'peer':>12} {'unit':<5}{'ratio':>10}  goal"]
    for r in rows:
        verdict = "" if not r.goal else "met" if r.met else "NOT MET"
        lines.append(f"{r.work:<58}{r.ours:>12.4g}{r.peer:>12.4g} {r.unit:<5}{r.ratio:>10.4g}  {r.goal} {verdict}")
    return "\n".join(lines)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("benchmark.json"), help="JSON to write")
    parser.add_argument(
        "--alexnet", type=Path, metavar="FILE", help="AlexNet's convolutions; without them the substitute's"
    )
    parser.add_argument("--caffe", help="a real caffe binary to measure too")
    parser.add_argument("--quick", action="store_true", help="fewer iterations")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="tries of each side (3), of which the fastest counts"
    )
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        kind, job = args.child
        print(json.dumps(CHILDREN[kind](**json.loads(job))))
        return 0
    if args.rounds < 1:
        parser.error("--rounds: expected at least 1")
    out, alexnet = args.out.resolve(), args.alexnet.resolve() if args.alexnet else None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            prepare(alexnet)
            rows, further = measure(args.caffe, args.quick, args.rounds)
            more, also = multiverse_rows(alexnet, args.quick, further["gflops"] * 1e9)
            rows, further = rows + more, further | also
        except SiamplexError as error:
            print(f"benchmark: error: {error}", file=sys.stderr)
            return error.exit_code
        finally:
            os.chdir(out.parent)
    features = f"conv1-3 of {alexnet.name}" if alexnet else "the substitute's conv1-3 (--alexnet FILE: AlexNet's)"
    print(f"features: {features}\n{show(rows)}")
    facts = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "features": features,
        **further,
    }
    write_text(out, json.dumps({"rows": [asdict(r) for r in rows], "facts": facts}, indent=1) + "\n")
    return 0 if all(r.met for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
