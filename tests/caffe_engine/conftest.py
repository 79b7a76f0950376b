"""Stand-ins for the caffe binary: a script with a recorded log, and one that really trains."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

VERSION = 'if [ "$1" = --version ]; then echo "caffe version 1.0.0"; exit; fi\n'


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a shell script that takes the binary's place; ``head`` answers --version."""

    def write(body: str, head: str = VERSION) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        binary = folder / "caffe"
        binary.write_text(f"#!/bin/sh\n{head}{body}\n")
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("CAFFE_BIN", str(binary))
        return binary

    return write


@pytest.fixture
def drop_in(stand_in: Callable[..., Path]) -> Path:
    """A binary that trains as Caffe does: ``siamplex caffe`` in a process of its own.

    Of the files that Caffe does not write it leaves none: no manifests, and ``PREFIX_run.json`` as it was.
    """
    body = f"""export PYTHONPATH="{ROOT}/python" OMP_NUM_THREADS=1
exec {sys.executable} -c '
import sys
from pathlib import Path
from siamplex.cli import main
solver = next((Path(a[8:]) for a in sys.argv if a.startswith("-solver=")), Path("-"))
folder = solver.absolute().parent
before = {{path: path.read_bytes() for path in folder.rglob("*_run.json")}}
code = main(["caffe", *sys.argv[1:]])
for path in folder.rglob("*_iter_*.caffemodel*"):
    Path(str(path).removesuffix(".h5").removesuffix(".caffemodel") + ".json").unlink(missing_ok=True)
for path in folder.rglob("*_run.json"):
    path.write_bytes(before[path]) if path in before else path.unlink()
sys.exit(code)
' "$@" """
    return stand_in(body)
