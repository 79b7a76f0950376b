from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from siamplex.cli import main
from siamplex.errors import InputError
from siamplex.run.durable import sha256
from siamplex.run.record import append, read_record, run_of


def test_the_run_of_an_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_of(Path("run/pairs")) == tmp_path / "run"
    assert run_of(Path("run/index.csv")) == tmp_path / "run"
    assert run_of(Path("run/stage1/snap_iter_3.json")) == tmp_path / "run"
    assert run_of(Path("prototxt/deploy.prototxt")) is None  # the working folder is nobody's run
    assert run_of(Path("anything.txt")) is None
    append(tmp_path / "other", {"command": "index"})
    assert run_of(Path("other/deep/below/x.npz")) == tmp_path / "other"


def test_commands_append_what_they_did(faces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["index", str(faces)]) == 0
    assert main(["pairs", "--size", "35", "--fractions", "0.6", "0.2", "0.2"]) == 0
    assert main(["pairs", "--size", "3"]) == 2
    first, second, third = read_record(tmp_path / "run")
    assert [s["command"] for s in (first, second, third)] == ["index", "pairs", "pairs"]
    assert first["outcome"] == second["outcome"] == "done"
    assert third["outcome"].startswith("error: --size")
    assert first["outputs"]["index.csv"]["sha256"] == sha256(tmp_path / "run/index.csv")
    assert first["inputs"][str(faces)]["sha256"] == sha256(faces)
    for part in ("split.csv", "index.csv", "images.caffemodel", "train_indexed_lmdb", "test_indexed_lmdb"):
        assert second["outputs"][f"pairs/{part}"]["sha256"] == sha256(tmp_path / "run/pairs" / part)
    assert second["options"]["fractions"] == [0.6, 0.2, 0.2]
    assert second["seconds"] > 0 and second["versions"]["numpy"]


def test_a_failure_alone_makes_no_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["index", "nowhere"]) == 2
    assert not (tmp_path / "run").exists()


def test_many_at_once_lose_nothing(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: append(tmp_path, {"command": str(i)}), range(40)))
    assert sorted(int(s["command"]) for s in read_record(tmp_path)) == list(range(40))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 9, "steps": []}', '{"format": 1, "steps": [3]}'])
def test_refuses_what_is_no_record(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match="run record"):
        read_record(tmp_path)


def test_a_training_says_its_engine_seed_and_losses(small_training):
    steps = [s for s in read_record(small_training / "run") if s["command"] == "train"]
    assert [s["outcome"] for s in steps] == ["done"] * 2
    one = steps[0]
    assert (one["engine"], one["device"], one["seed"], one["iterations"]) == ("torch", "cpu", 1, [0, 6])
    assert one["losses"]["last"][0] == 6
    assert any(name.endswith("snap_iter_6.caffemodel") for name in one["outputs"])
    assert json.loads((small_training / "run/run.json").read_text())["format"] == 1
