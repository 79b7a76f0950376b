"""Feed the parsers of files from others ten thousand and more damaged files each.

Every parser runs in a process of its own.  A crash, an exception that is no one-line refusal, an input
that takes longer than the limit or memory that grows past the limit fails it; the input is kept.

    python tools/fuzz.py [--inputs 10000] [--only LMDB] [--seed 0] [--out fuzz.json]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 10  # an input may take
GROWTH = 512  # MiB the process may grow by


def child(name: str, inputs: int, seed: int, folder: Path) -> dict[str, Any]:
    """Try ``inputs`` files; what came of them.  The one being tried lies in ``folder/input``."""
    sys.path.insert(0, str(ROOT))
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from tests.parsers.targets import TARGETS, attempt, mutations, small_memory

    small_memory(setattr)
    target = TARGETS[name]
    for part in ("seeds", "trial"):
        (folder / part).mkdir()
    files = target.seeds(folder / "seeds")
    for file in files:
        attempt(target, file, folder / "trial")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict[str, Any] = {"inputs": 0, "accepted": 0, "slowest": 0.0}

    def too_slow(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    signal.signal(signal.SIGALRM, too_slow)

    def run(data: bytes) -> None:
        (folder / "input").write_bytes(data)
        signal.alarm(SECONDS)
        start = time.perf_counter()
        found["accepted"] += attempt(target, data, folder / "trial")
        signal.alarm(0)
        found["inputs"] += 1
        found["slowest"] = max(found["slowest"], time.perf_counter() - start)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if grown > GROWTH:
            raise MemoryError(f"grew by {grown:.0f} MiB")

    checks = settings(
        max_examples=1000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    round_number = 0
    while found["inputs"] < inputs:  # rounds of a thousand: hypothesis slows down over a long one
        seeded(seed * 100_003 + round_number)(checks(given(mutations(files))(run)))()
        round_number += 1
    found["grown"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def try_one(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """Run a child and judge it."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [sys.executable, __file__, "--child", name, folder, "--inputs", str(inputs), "--seed", str(seed)]
        answer = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
        if answer.returncode == 0:
            return {**json.loads(answer.stdout.splitlines()[-1]), "ok": True}
        kept = Path(f"fuzz_{name.replace(' ', '_')}.bin")
        if (Path(folder) / "input").exists():
            kept.write_bytes((Path(folder) / "input").read_bytes())
        how = f"signal {-answer.returncode}" if answer.returncode < 0 else f"exit {answer.returncode}"
        last = answer.stderr.strip().splitlines()[-12:]
        return {"ok": False, "why": f"{how}; input kept as {kept}", "said": last}


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=10_000, help="files a parser is given (10000)")
    parser.add_argument("--only", action="append", help="a parser's name; may be given again (all)")
    parser.add_argument("--seed", type=int, help="seed of the mutations (drawn)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    if args.child:
        print(json.dumps(child(args.child[0], args.inputs, seed, Path(args.child[1]))))
        return 0
    sys.path.insert(0, str(ROOT))
    from tests.parsers.targets import TARGETS

    unknown = set(args.only or ()) - set(TARGETS)
    if unknown:
        parser.error(f"--only: expected one of {', '.join(TARGETS)}, found {sorted(unknown)[0]}")
    print(f"seed {seed}\n{'parser':<20}{'inputs':>8}{'accepted':>10}{'slowest':>10}{'grown by':>10}")
    results = {}
    for name in args.only or TARGETS:
        result = results[name] = try_one(name, args.inputs, seed)
        if result["ok"]:
            numbers = f"{result['inputs']:>8}{result['accepted']:>10}{result['slowest'] * 1e3:>7.0f} ms"
            print(f"{name:<20}{numbers}{result['grown']:>6.0f} MiB", flush=True)
        else:
            print(f"{name:<20}FAILED: {result['why']}", *result["said"], sep="\n  ", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"seed": seed, "parsers": results}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(result["ok"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
