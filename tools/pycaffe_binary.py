#!/usr/bin/env python3
"""Caffe's commands `caffe` and `extract_features`, made of its Python module, where the programs are missing.

    python tools/pycaffe_binary.py FOLDER --python PYTHON    write FOLDER/caffe and FOLDER/extract_features
    CAFFE_BIN=FOLDER/caffe make test                         let the tests, or the caffe engine, use them

PYTHON is the one that has the module `caffe`, a process of its own each time.  Solvers, layers, files and log are
Caffe's own; only the reading of the command line is done here.  Served: --version, train (-solver, -weights,
-snapshot), test (-model, -weights, -iterations) and extract_features to an LMDB (the module lmdb must be there too), on
the CPU.  SIGINT ends the process without a snapshot.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NAMES = ("caffe", "extract_features")


def write_programs(folder: Path, python: str) -> None:
    """Write a script for each of NAMES that runs this file with ``python``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        script = folder / name
        words = " ".join(shlex.quote(word) for word in (python, str(Path(__file__).resolve()), "--as", name))
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def flags(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """gflags of a command line (-name=value, --name value) and what else stands on it."""
    named: dict[str, str] = {}
    rest: list[str] = []
    left: Iterator[str] = iter(arguments)
    for argument in left:
        if argument.startswith("-"):
            name, equals, value = argument.lstrip("-").partition("=")
            named[name] = value if equals else next(left, "")
        else:
            rest.append(argument)
    return named, rest


def caffe(arguments: Sequence[str]) -> int:
    """The program ``caffe``; returns its exit code."""
    if list(arguments) in (["--version"], ["-version"]):
        print(f"caffe version {importlib.import_module('caffe').__version__}")
        return 0
    named, rest = flags(arguments)
    if rest == ["device_query"] or named.get("gpu"):
        print("F pycaffe_binary.py Cannot use GPU in CPU-only Caffe: check mode.", file=sys.stderr)
        return 1
    if rest == ["train"]:
        _train(named)
    elif rest == ["test"]:
        _test(named)
    else:
        print(f"pycaffe_binary.py serves train and test, not {' '.join(rest) or 'nothing'}", file=sys.stderr)
        return 1
    return 0


def _module() -> Any:
    os.environ.setdefault("GLOG_logtostderr", "1")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's would wait for the end of the training
    module = importlib.import_module("caffe")
    module.set_mode_cpu()
    return module


def _train(named: dict[str, str]) -> None:
    module = _module()
    solver = module.get_solver(named["solver"])
    if named.get("snapshot"):
        module.log(f"Resuming from {named['snapshot']}")
        solver.restore(named["snapshot"])
    for name in filter(None, named.get("weights", "").split(",")):
        module.log(f"Finetuning from {name}")
        for net in (solver.net, *solver.test_nets):
            net.copy_from(name)
    module.log("Starting Optimization")
    solver.solve()
    module.log("Optimization Done.")


def _test(named: dict[str, str]) -> None:
    module = _module()
    net = module.Net(named["model"], module.TEST, weights=named["weights"])
    count = int(named.get("iterations", "50"))
    module.log(f"Running for {count} iterations.")
    sums: dict[tuple[str, int], float] = {}
    for batch in range(count):
        for name, blob in net.forward().items():
            for place, value in enumerate(blob.ravel()):
                module.log(f"Batch {batch}, {name} = {value:g}")
                sums[name, place] = sums.get((name, place), 0.0) + float(value)
    for (name, _), total in sums.items():
        module.log(f"{name} = {total / count:g}")


def extract_features(arguments: Sequence[str]) -> int:
    """The program ``extract_features``: WEIGHTS NET BLOB,... DB,... BATCHES lmdb [CPU]; returns its exit code."""
    weights, model, blobs, stores, batches, kind, *_ = arguments
    if kind != "lmdb":
        print(f"pycaffe_binary.py writes lmdb, not {kind}", file=sys.stderr)
        return 1
    module = _module()
    lmdb, datum_type = importlib.import_module("lmdb"), importlib.import_module("caffe.proto.caffe_pb2").Datum
    net = module.Net(model, module.TEST, weights=weights)
    names = blobs.split(",")
    opened = [lmdb.open(store, map_size=1 << 34) for store in stores.split(",")]
    written = [0] * len(names)
    for _ in range(int(batches)):
        net.forward()
        for place, (name, store) in enumerate(zip(names, opened)):  # noqa: B905 (Python 3.9)
            with store.begin(write=True) as transaction:
                for row in net.blobs[name].data:
                    shape = (*row.shape, 1, 1, 1)[:3] if row.ndim < 3 else row.shape
                    datum = datum_type(channels=shape[0], height=shape[1], width=shape[2])
                    datum.float_data.extend(row.ravel().tolist())
                    transaction.put(b"%010d" % written[place], datum.SerializeToString())
                    written[place] += 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    if len(arguments) > 1 and arguments[0] == "--as":
        return (caffe if arguments[1] == "caffe" else extract_features)(arguments[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where to write the two programs")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the module caffe (this one)")
    args = parser.parse_args(arguments)
    write_programs(args.folder, args.python)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
