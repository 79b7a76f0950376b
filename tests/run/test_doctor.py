from __future__ import annotations

import builtins
import stat
from pathlib import Path

import pytest

from siamplex.caffe_engine import binary
from siamplex.cli import main
from siamplex.run import doctor
from siamplex.run.doctor import MISSING, NOTE, OK
from siamplex.weights.alexnet import Convolutions


def program(folder: Path, script: str) -> Path:
    path = folder / "caffe"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_says_what_there_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAFFE_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("torch", "no caffe binary", "no weights/bvlc_alexnet.caffemodel", "GB free", "cores", "can run here"):
        assert word in out


@pytest.mark.parametrize(
    ("script", "state", "word"),
    [
        ("echo caffe version 1.0.0", OK, "version 1.0.0"),
        ("echo caffe version 1.0.0 >&2; exit 1", OK, "version 1.0.0"),
        ("echo caffe version 0.17.4", MISSING, "found version 0.17.4"),
        ("echo hello", MISSING, "expected a caffe binary"),
        ("exec sleep 9", MISSING, "timed out"),
    ],
)
def test_caffe_by_its_own_word(tmp_path, monkeypatch, script, state, word):
    monkeypatch.setattr(binary, "_WAIT", 0.5)
    monkeypatch.setenv("CAFFE_BIN", str(program(tmp_path, script)))
    found = doctor.check_caffe()
    assert found.state == state and word in found.found


def test_a_binary_named_but_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("CAFFE_BIN", str(tmp_path / "none"))
    found = doctor.check_caffe()
    assert found.state == MISSING and "nothing there" in found.found


def test_another_file_under_alexnets_name(tmp_path):
    path = tmp_path / "bvlc_alexnet.caffemodel"
    path.write_bytes(b"not it")
    found = doctor.check_alexnet(path)
    assert found.state == MISSING and "is another file: a text file" in found.found


def test_alexnets_weights_by_content(tmp_path, monkeypatch):
    for kind, state in (("fingerprint", OK), ("published", OK), ("other", MISSING)):
        given = Convolutions({}, kind, "words on them")
        monkeypatch.setattr(doctor.alexnet, "load", lambda path, accept_other, given=given: given)
        found = doctor.check_alexnet(tmp_path)
        assert found.state == state and "words on them" in found.found
        assert ("OTHER_WEIGHTS=1" in found.advice) == (kind == "other")


@pytest.mark.parametrize(("free", "state"), [(1e9, MISSING), (4e9, NOTE), (20e9, OK), (900e9, OK)])
def test_disk(monkeypatch, tmp_path, free, state):
    monkeypatch.setattr(doctor, "free_bytes", lambda path: free)
    found = doctor.check_disk(tmp_path)
    assert found.state == state and bool(found.advice) == (free < 100e9)


def test_little_memory(monkeypatch):
    monkeypatch.setattr(doctor.os, "sysconf", lambda name: 4096 if "SIZE" in name else 2**18)
    assert doctor.check_memory().state == MISSING


def test_without_torch_nothing_runs(monkeypatch, capsys):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "torch":
            raise ImportError("no torch here")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    (found,) = doctor.check_torch()
    assert found.state == MISSING and found.needed and "pip install torch" in found.advice
    monkeypatch.setattr(doctor, "check_torch", lambda: [found])
    assert main(["doctor"]) == 1
    assert "cannot run without: engine torch" in capsys.readouterr().out


def test_a_gpu_and_a_driver_without_one(monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"Card {i}")
    assert doctor.check_torch()[1].found == "cuda:0 Card 0, cuda:1 Card 1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert doctor.check_torch()[1].state == MISSING
