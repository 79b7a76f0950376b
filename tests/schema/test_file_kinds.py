"""A wrong file is called what it is, with what to give instead."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.engine.conftest import pair_lmdb, twin_solver  # noqa: F401  (fixtures)
from tests.frozen_fillers import frozen_fillers_are_meant  # noqa: F401

from siamplex.cli import main
from siamplex.engine.solver import Solver, TrainOptions
from siamplex.errors import PrototxtError
from siamplex.schema import file_kinds
from siamplex.schema.file_kinds import kind_of, text_kind


@pytest.fixture
def files(own_run, tmp_path) -> dict[str, Path]:
    """A file of each kind."""
    made = {
        "caffemodel": own_run / "stage1/snap_iter_6.caffemodel",
        "solverstate": own_run / "stage1/snap_iter_6.solverstate",
        "net": own_run / "prototxt/train_val_stage1_indexed.prototxt",
        "deploy": own_run / "prototxt/deploy.prototxt",
        "solver": own_run / "solvers/stage1_indexed.prototxt",
        "embedding": own_run / "features/stage2.npz",
        "pairs": own_run / "pairs",
        "run": own_run,
        "manifest": own_run / "stage1/snap_iter_6.json",
    }
    for name, content in {
        "page": b"<!DOCTYPE html><html><body>404</body></html>", "empty": b"", "pointer": b"version https://git-lfs.git\n",
        "zipped": gzip.compress(b"x" * 99), "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(99), "picture": b"BM" + bytes(99),
    }.items():  # fmt: skip
        made[name] = tmp_path / name
        made[name].write_bytes(content)
    np.savez(tmp_path / "arrays.npz", conv1_w=np.zeros(3, np.float32))
    made["npz"] = tmp_path / "arrays.npz"
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("a.caffemodel", "x")
    made["zip"] = tmp_path / "model.zip"
    return made


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("caffemodel", "a caffemodel"), ("solverstate", "a solverstate"), ("net", file_kinds.NET),
        ("deploy", file_kinds.NET), ("solver", file_kinds.SOLVER), ("embedding", file_kinds.EMBEDDING),
        ("pairs", file_kinds.STORE), ("run", file_kinds.RUN), ("manifest", file_kinds.JSON),
        ("page", "a web page (a failed download?)"), ("empty", "an empty file"), ("npz", file_kinds.NPZ),
        ("pointer", "a Git LFS pointer, not the file itself (git lfs pull fetches it)"),
        ("zipped", "a gzip archive (unpack it)"), ("zip", "a zip archive (unpack it)"), ("hdf5", "an HDF5 file"),
        ("picture", "a BMP image"),
    ],
)  # fmt: skip
def test_every_kind_is_recognised(files, name, kind):
    assert kind_of(files[name]) == kind


def test_prototxts_are_told_by_their_outermost_fields():
    assert text_kind('net: "a" # layer {\nbase_lr: 0.1') == file_kinds.SOLVER
    assert text_kind('name: "base_lr" layer { name: "max_iter" }') == file_kinds.NET
    assert text_kind('net_param { layer { name: "x" } } base_lr: 1') == file_kinds.SOLVER
    assert text_kind("just some words") is None


def said(command: list[str], capsys) -> str:
    capsys.readouterr()
    assert main(command) == 2, command
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("option", "name", "expected", "hint"),
    [
        ("--snapshot", "caffemodel", "found a caffemodel", "--weights starts from it, --snapshot "),
        ("--snapshot", "page", "found a web page", ""),
        ("--weights", "solverstate", "found a solverstate", "--snapshot resumes from it"),
        ("--weights", "net", "found a net's prototxt", ""),
        ("--weights", "npz", "found an .npz archive", "siamplex weights --alexnet"),
        ("--weights", "pointer", "found a Git LFS pointer", "git lfs pull"),
        ("--weights", "zipped", "found a gzip archive", "unpack it"),
        ("--weights", "hdf5", "found an HDF5 file", ""),
        ("--weights", "empty", "found an empty file", ""),
        ("--weights", "run", "found the folder of a run", ""),
    ],
)
def test_training_with_a_wrong_file(files, capsys, option, name, expected, hint):
    shutil.rmtree(files["run"] / "stage2")
    line = said(["train", "--solver", "run/solvers/stage2_indexed.prototxt", option, str(files[name])], capsys)
    assert str(files[name]) in line and expected in line and hint in line


@pytest.mark.parametrize(
    ("command", "name", "expected"),
    [
        (["train", "--solver"], "net", "expected a solver's prototxt, found a net's prototxt (its solver is in"),
        (["train", "--solver"], "caffemodel", "found a caffemodel"),
        (["train", "--solver"], "run", "found the folder of a run"),
        (["caffe", "time", "-model"], "solver", "expected a net's prototxt, found a solver's prototxt"),
        (["geometry"], "caffemodel", "found a caffemodel (siamplex extract makes an embedding of it)"),
        (["geometry"], "npz", "an embedding"),
        (["geometry"], "pairs", "found a pair store"),
        (["extract", "--weights", "run/stage2/snap_iter_6.caffemodel", "--out", "f.npz", "--deploy"], "net",
         "expected a deploy net with an input, found one that reads data in layer"),
        (["extract", "--weights", "run/stage2/snap_iter_6.caffemodel", "--out", "f.npz", "--deploy",
          "run/prototxt/deploy.prototxt", "--pairs"], "run", "found the folder of a run (its folder pairs/ is one)"),
    ],
)  # fmt: skip
def test_other_commands_with_a_wrong_file(files, capsys, command, name, expected):
    assert expected in said([*command, str(files[name])], capsys)


def test_a_store_of_another_backend_or_none_is_named_with_layer_and_line(twin_solver, tmp_path):  # noqa: F811
    path, net = twin_solver(), tmp_path / "net.prototxt"
    text = net.read_text()
    net.write_text(text.replace(" backend: LMDB", ""))
    with pytest.raises(
        PrototxtError, match=r"net\.prototxt:4: layer 'pair' \(Data\): .*found an LMDB \(say backend: LMDB"
    ):
        Solver(path, TrainOptions(quiet=True))
    net.write_text(text.replace("pairs_lmdb", "nowhere_lmdb"))
    with pytest.raises(PrototxtError, match=r"net\.prototxt:4: layer 'pair' .*nowhere_lmdb.*looked for from .* beside"):
        Solver(path, TrainOptions(quiet=True))
