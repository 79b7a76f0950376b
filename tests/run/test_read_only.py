"""A file system that cannot be written: what only reads works, what writes says so in one line, beforehand."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from siamplex.cli import main
from siamplex.engine.net.data_source import DataSource
from siamplex.errors import StorageError
from siamplex.run.durable import atomic_path, discard
from siamplex.schema.datum import encode


@pytest.fixture
def read_only(small_training, tmp_path, monkeypatch):
    """The small run on a file system mounted read-only, the working folder beside it."""
    folder = tmp_path / "frozen"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]).returncode:
        pytest.skip("a file system of its own can only be mounted by root")
    try:
        shutil.copytree(small_training / "run", folder / "run")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        monkeypatch.chdir(tmp_path)
        yield folder / "run"
    finally:
        subprocess.run(["umount", folder], check=True)


def test_audit_prints_and_its_exit_code_is_its_verdict(read_only, capsys):
    assert main(["audit", str(read_only)]) == 1  # drawn faces differ
    said = capsys.readouterr()
    assert "verdict" in said.out and "audit: printed only (" in said.err and "Traceback" not in said.err
    assert main(["audit", str(read_only), "--out", "elsewhere"]) == 1
    assert Path("elsewhere/audit.html").exists()
    assert "not noted in the run's record" in capsys.readouterr().err


def test_audit_ends_with_2_for_everything_but_a_difference(read_only, capsys, monkeypatch, tmp_path):
    assert main(["audit", str(read_only), "--out", str(read_only / "audit")]) == 2
    assert "expected a place that can be written" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "nowhere")]) == 2
    monkeypatch.setattr("siamplex.audit.audit.audit", lambda *_: 1 / 0)
    assert main(["audit", str(read_only)]) == 70  # a fault of ours
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_what_reads_a_run_needs_no_write_access_to_it(read_only, capsys):
    out, deploy = Path("out"), str(read_only / "prototxt/deploy.prototxt")
    losses = str(read_only / "stage1/snap_losses.csv")
    weights, pairs = str(read_only / "stage2/snap_iter_6.caffemodel"), str(read_only / "pairs")
    stage2 = str(read_only / "features/stage2.npz")
    for command in (
        ["report", str(read_only), "--out", str(out / "report.html")],
        ["extract", "--weights", weights, "--deploy", deploy, "--pairs", pairs, "--out", str(out / "f.npz")],
        ["geometry", stage2, "--out", str(out / "g.json")],
        ["similarity", stage2, "--weights", weights, "--deploy", deploy, "--pairs", pairs, "--out",
         str(out / "s.json")],
        ["figures", "--stage2", stage2, "--losses", losses, "--out", str(out / "fig")],
        ["geometry", stage2],
    ):  # fmt: skip
        assert main(command) == 0, (command, capsys.readouterr().err)
        assert "Traceback" not in capsys.readouterr().err


def test_a_leveldb_is_read_where_its_library_cannot_write(tmp_path, monkeypatch):
    """LevelDB writes a log and a lock when it opens a database."""
    plyvel = pytest.importorskip("plyvel")
    folder = tmp_path / "frozen"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder]).returncode:
        pytest.skip("a file system of its own can only be mounted by root")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        for name, packed in (("log", False), ("tables", True)):
            with plyvel.DB(str(folder / name), create_if_missing=True) as db:
                for i in range(5):
                    db.put(b"%08d" % i, encode(np.full((1, 2, 2), i, np.uint8), i))
                if packed:
                    db.compact_range()
        before = sorted(p.name for p in folder.rglob("*"))
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        for name in ("log", "tables"):
            source = DataSource(folder / name, "LEVELDB")
            assert source.batch(5)[1].tolist() == [0, 1, 2, 3, 4]
            del source
        gc.collect()
        assert sorted(p.name for p in folder.rglob("*")) == before
        assert not list(tmp_path.glob("siamplex_*"))
    finally:
        subprocess.run(["umount", folder], check=True)


def test_doctor_says_that_nothing_can_be_written(read_only, capsys):
    assert main(["doctor", "--folder", str(read_only)]) == 0
    assert f"{read_only.resolve()} cannot be written" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["report", "RUN"],
        ["geometry", "RUN/features/stage2.npz", "--out", "RUN/geometry/new.json"],
        ["figures", "--stage2", "RUN/features/stage2.npz", "--out", "RUN/figures"],
        ["index", "FACES", "--out", "RUN/index.csv"],
        ["pairs", "--index", "RUN/pairs/index.csv", "--out", "RUN/pairs2", "--size", "35"],
        ["extract", "--weights", "RUN/stage2/snap_iter_6.caffemodel", "--deploy", "RUN/prototxt/deploy.prototxt",
         "--pairs", "RUN/pairs", "--out", "RUN/features/new.npz"],
        ["train", "--solver", "RUN/solvers/stage1_indexed.prototxt", "--allow-outside", "--overwrite"],
    ],
    ids=lambda c: c[0],
)  # fmt: skip
def test_what_writes_says_so_in_one_line(read_only, faces, capsys, command):
    filled = [part.replace("RUN", str(read_only)).replace("FACES", str(faces)) for part in command]
    assert main(filled) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("siamplex: error: ")


def test_files_cannot_be_removed_or_written(read_only):
    with pytest.raises(StorageError, match="expected to remove it"):
        discard(read_only / "run.json")
    with pytest.raises(StorageError, match="expected to write it"), atomic_path(read_only / "new") as part:
        part.write_text("text")
