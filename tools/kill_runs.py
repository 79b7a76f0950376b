"""Kill trainings with SIGKILL at random moments and hold what comes of them against an unbroken run.

A small twin net trains by the console command, saves often, and is killed again and again: while it
starts, between snapshots, while one is being written.  After each kill every snapshot that has a manifest
must be whole; in the end losses, weights and momentum must be those of the unbroken run, bit for bit.

    python tools/kill_runs.py [--kills 50] [--seed N] [--out kills.json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from siamplex.engine.training import snapshot as snapshots
from siamplex.errors import InputError
from siamplex.schema.datum import encode
from siamplex.schema.weights import read_caffemodel, read_solverstate

ITERATIONS, EVERY = 300, 4
_TOWER = """
layer { name: "conv%(p)s" type: "Convolution" bottom: "%(in)s" top: "conv%(p)s"
  param { name: "cw" lr_mult: %(lr)s } param { name: "cb" lr_mult: %(lr)s }
  convolution_param { num_output: 8 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "relu%(p)s" type: "ReLU" bottom: "conv%(p)s" top: "conv%(p)s" }
layer { name: "fc%(p)s" type: "InnerProduct" bottom: "conv%(p)s" top: "fc%(p)s"
  param { name: "fw" } param { name: "fb" }
  inner_product_param { num_output: 256 weight_filler { type: "xavier" } } }
layer { name: "drop%(p)s" type: "Dropout" bottom: "fc%(p)s" top: "fc%(p)s" }
layer { name: "out%(p)s" type: "InnerProduct" bottom: "fc%(p)s" top: "out%(p)s"
  param { name: "ow" } param { name: "ob" }
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


def write_inputs(folder: Path, frozen: bool) -> None:
    """Pairs of random images, net and solver."""
    stream = np.random.default_rng(1)
    images = stream.integers(0, 256, (60, 1, 24, 24), dtype=np.uint8)
    with lmdb.open(str(folder / "pairs_lmdb"), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for i in range(120):
            a, b = stream.integers(0, 60, 2)
            txn.put(b"%08d" % i, encode(np.concatenate([images[a], images[b]]), int(a % 6 == b % 6)))
    lr = 0 if frozen else 1
    net = (
        'name: "twins" layer { name: "pair" type: "Data" top: "pair" top: "sim" transform_param { scale: 0.004 }\n'
        '  data_param { source: "pairs_lmdb" batch_size: 8 backend: LMDB } }\n'
        'layer { name: "slice" type: "Slice" bottom: "pair" top: "a" top: "b" }\n'
        + _TOWER % {"p": "", "in": "a", "lr": lr} + _TOWER % {"p": "_p", "in": "b", "lr": lr}
        + 'layer { name: "loss" type: "ContrastiveLoss" bottom: "out" bottom: "out_p" bottom: "sim" top: "loss" }\n'
    )  # fmt: skip
    (folder / "net.prototxt").write_text(net, encoding="utf-8")
    (folder / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.0005 lr_policy: "step" gamma: 0.5 stepsize: 100 momentum: 0.9\n'
        f'weight_decay: 0.001 max_iter: {ITERATIONS} display: 1 average_loss: 5 snapshot: {EVERY}\n'
        'snapshot_prefix: "out/snap" random_seed: 3\n',
        encoding="utf-8",
    )  # fmt: skip


def command() -> list[str]:
    """The training, going on where it can."""
    return [
        sys.executable,
        "-m",
        "siamplex",
        "train",
        "--solver",
        "solver.prototxt",
        "--resume",
        "--allow-unfilled",
        "--keep-states",
        "2",
    ]


def launch(folder: Path) -> subprocess.Popen[bytes]:
    """Start the training in ``folder``, its log beside it."""
    log = (folder / "log").open("ab")
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # small work, and sums in one order
    return subprocess.Popen(command(), cwd=folder, stdout=log, stderr=log, env=one_thread)


def whole_snapshots(folder: Path) -> int:
    """The newest whole snapshot's iteration (0: none yet); raises SystemExit where a manifest lies."""
    prefix = folder / "out" / "snap"
    newest = 0
    for iteration in snapshots.iterations(prefix):
        paths = snapshots.SnapshotPaths.of(prefix, iteration)
        if not paths.solverstate.exists():  # let go on purpose, by --keep-states
            continue
        try:
            snapshots.verify(paths)
        except InputError as error:
            raise SystemExit(f"kill_runs: a snapshot with a manifest is not whole: {error}") from None
        newest = iteration
    return newest


def same_end(ours: Path, reference: Path) -> list[str]:
    """What differs between two finished runs."""
    differs = []
    stem = f"out/snap_iter_{ITERATIONS}"
    a, b = (read_caffemodel(folder / f"{stem}.caffemodel") for folder in (ours, reference))
    for name in b:
        if any(not np.array_equal(x, y) for x, y in zip(a[name], b[name], strict=True)):
            differs.append(f"weights of {name}")
    c, d = (read_solverstate(folder / f"{stem}.solverstate").history for folder in (ours, reference))
    if any(not np.array_equal(x, y) for x, y in zip(c, d, strict=True)):
        differs.append("momentum")
    if (ours / "out/snap_losses.csv").read_bytes() != (reference / "out/snap_losses.csv").read_bytes():
        differs.append("losses")
    return differs


def run(kills: int, seed: int) -> dict[str, Any]:
    """Kill until there were ``kills``, over as many runs as that takes; returns what was seen."""
    draw = random.Random(seed)
    seen: dict[str, Any] = {"kills": 0, "while_starting": 0, "while_writing": 0, "runs": 0, "differences": []}
    with tempfile.TemporaryDirectory() as top:
        references = {}
        for frozen in (True, False):
            folder = references[frozen] = Path(top) / f"whole_{frozen}"
            folder.mkdir()
            write_inputs(folder, frozen)
            start = time.monotonic()
            if launch(folder).wait():
                raise SystemExit(f"kill_runs: the unbroken run failed:\n{(folder / 'log').read_text()}")
            seen[f"unbroken_{'frozen' if frozen else 'full'}_s"] = round(time.monotonic() - start, 2)
        while seen["kills"] < kills:
            frozen = seen["runs"] % 2 == 0
            folder = Path(top) / f"run_{seen['runs']}"
            folder.mkdir()
            write_inputs(folder, frozen)
            one_run(folder, kills, draw, seen)
            seen["runs"] += 1
            differs = same_end(folder, references[frozen])
            seen["differences"] += [f"run {seen['runs']}: {what}" for what in differs]
            print(f"run {seen['runs']} ({'conv frozen' if frozen else 'all learn'}): {seen['kills']} kills so far, "
                  f"{'the same end' if not differs else 'DIFFERS: ' + ', '.join(differs)}", flush=True)  # fmt: skip
    return seen


def one_run(folder: Path, kills: int, draw: random.Random, seen: dict[str, Any]) -> None:
    """Kill one run at random moments until it ends, or the kills are used up and it is let end."""
    while True:
        before = whole_snapshots(folder)
        process = launch(folder)
        if seen["kills"] < kills and before < ITERATIONS:  # a run that only has to end is let end
            wait_for(process, folder, before, draw)
            process.send_signal(signal.SIGKILL)
        code = process.wait()
        if code == 0:
            return
        if code != -signal.SIGKILL:
            raise SystemExit(f"kill_runs: a resumed run failed with {code}:\n{(folder / 'log').read_text()[-2000:]}")
        seen["kills"] += 1
        seen["while_writing"] += bool(list((folder / "out").glob(".*.part"))) if (folder / "out").exists() else 0
        seen["while_starting"] += whole_snapshots(folder) == before


def wait_for(process: subprocess.Popen[bytes], folder: Path, before: int, draw: random.Random) -> None:
    """Sometimes a while after the start, mostly some iterations and a moment after a new snapshot."""
    if draw.random() < 0.1:
        time.sleep(draw.uniform(0, 3))
        return
    target = before + EVERY * draw.randint(1, 8)
    manifest = snapshots.SnapshotPaths.of(folder / "out" / "snap", min(target, ITERATIONS)).manifest
    while process.poll() is None and not manifest.exists():
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.15))


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50, help="(50)")
    parser.add_argument("--seed", type=int, help="seed of the moments (drawn)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    print(f"seed {seed}")
    seen = {"seed": seed, **run(args.kills, seed)}
    print(f"{seen['kills']} kills over {seen['runs']} runs survived: {seen['while_starting']} before anything new was "
          f"saved, {seen['while_writing']} with a file half written, "
          f"{len(seen['differences'])} differences from the unbroken run")  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(seen, indent=1) + "\n", encoding="utf-8")
    return 1 if seen["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
